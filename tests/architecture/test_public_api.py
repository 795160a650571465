"""The public names and signatures are those that were last agreed on, in public_api.txt.

After a change that is meant, and told in docs/changelog.md: python -m tests.architecture.test_public_api
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

AGREED = Path(__file__).with_name("public_api.txt")
MODULES = (
    "clip_image_encoder",
    "clip_image_encoder.cache",
    "clip_image_encoder.compact",
    "clip_image_encoder.folder",
    "clip_image_encoder.serving",
    "clip_image_encoder.testing",
)


class Bare(str):
    """An annotation that is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def signature(function: Callable[..., Any]) -> str:
    found = inspect.signature(function)
    parameters = [
        each if each.name == "self" else each.replace(annotation=Bare(each.annotation))
        for each in found.parameters.values()
    ]
    return str(found.replace(parameters=parameters, return_annotation=Bare(found.return_annotation)))


def ours(kind: type) -> dict[str, Any]:
    """What a class and its bases in this package define."""
    bases = [base for base in reversed(kind.__mro__) if base.__module__.startswith("clip_image_encoder")]
    return {name: value for base in bases for name, value in vars(base).items()}


def members(kind: type) -> Iterator[str]:
    for name, value in sorted(ours(kind).items()):
        if name.startswith("_") and name != "__call__":
            continue
        if isinstance(value, property):
            yield f"    .{name}: {inspect.get_annotations(value.fget)['return']}"  # type: ignore[arg-type] # it has one
        elif isinstance(value, (classmethod, FunctionType)):
            yield f"    .{name}{signature(getattr(kind, name))}"


def lines(module: str) -> Iterator[str]:
    home = importlib.import_module(module)
    for name in home.__all__:
        value = getattr(home, name)
        if inspect.isclass(value):
            bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
            constructor = "" if "Protocol" in bases or "__init__" not in ours(value) else signature(value)
            yield f"{module}.{name}{constructor}" + (f" is {bases}" if bases else "")
            yield from members(value)
        else:
            yield f"{module}.{name}{signature(value) if inspect.isfunction(value) else f' = {value}'}"


def public_api() -> str:
    return "\n".join(line for module in MODULES for line in lines(module)) + "\n"


def test_the_public_names_and_signatures_are_those_that_were_agreed_on() -> None:
    assert public_api() == AGREED.read_text("utf-8")


if __name__ == "__main__":
    AGREED.write_text(public_api(), "utf-8")
