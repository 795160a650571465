"""What is public: every name that a page of docs/reference shows."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType

import clip_image_encoder

DOCS = Path(__file__).parents[1] / "docs"
SHOWN = sorted(
    {
        name
        for page in (DOCS / "reference").glob("*.md")
        for name in re.findall(r"^::: (\S+)", page.read_text("utf-8"), re.MULTILINE)
    }
)


def find(path: str) -> object:
    """Return the object that a dotted path means, or the module."""
    parent, _, name = path.rpartition(".")
    if not parent:
        return importlib.import_module(path)
    home = find(parent)
    if not hasattr(home, name) and isinstance(home, ModuleType):
        return importlib.import_module(path)
    return getattr(home, name)


@cache
def public_names() -> dict[str, object]:
    """Return every public name, by its dotted path: of a module that is shown as a whole, all in its `__all__`."""
    return dict(sorted(_named()))


def _named() -> Iterator[tuple[str, object]]:
    for path in SHOWN:
        value = find(path)
        if isinstance(value, ModuleType):
            yield from ((f"{path}.{name}", getattr(value, name)) for name in value.__all__)
        else:
            yield path, value


def importable_names() -> set[str]:
    """Return the dotted paths of all that others may import: the public names, and those of the package itself."""
    return {*public_names(), *(f"clip_image_encoder.{name}" for name in clip_image_encoder.__all__)}
