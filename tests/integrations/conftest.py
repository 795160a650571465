"""Each integration's tests are collected where what they need is installed: in its own nox session."""

from importlib.util import find_spec

collect_ignore = [name for name in ("jina", "ray", "sklearn") if find_spec(name) is None]
