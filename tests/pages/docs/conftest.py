"""The reference is checked where what reads it is installed: in the nox session `docs`."""

from importlib.util import find_spec

collect_ignore = ["test_reference.py"] if find_spec("griffe") is None else []
