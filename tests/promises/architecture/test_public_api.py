"""The public names and signatures are those that were last agreed on, in public_api.txt.

After a change that is meant, and told in docs/changelog.md: python -m tests.promises.architecture.test_public_api
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType
from typing import Any

import clip_image_encoder
from tests.public import public_names

AGREED = Path(__file__).with_name("public_api.txt")
PACKAGE = Path(clip_image_encoder.__file__).parent


class Bare(str):
    """An annotation that is shown without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def shown(parameter: inspect.Parameter) -> inspect.Parameter:
    """A parameter as it reads in every version of Python, in every process."""
    if isinstance(parameter.default, frozenset):
        parameter = parameter.replace(default=Bare(f"frozenset({sorted(parameter.default)})"))
    return parameter if parameter.name == "self" else parameter.replace(annotation=Bare(parameter.annotation))


def signature(function: Callable[..., Any]) -> str:
    found = inspect.signature(function)
    parameters = [shown(parameter) for parameter in found.parameters.values()]
    return str(found.replace(parameters=parameters, return_annotation=Bare(found.return_annotation)))


def ours(kind: type) -> dict[str, Any]:
    """What a class and its bases in this package define."""
    bases = [base for base in reversed(kind.__mro__) if base.__module__.startswith("clip_image_encoder")]
    return {name: value for base in bases for name, value in vars(base).items()}


def members(kind: type) -> Iterator[str]:
    for name, value in sorted(ours(kind).items()):
        if name.startswith("_") and name != "__call__":
            continue
        getter = value.fget if isinstance(value, property) else getattr(value, "func", None)  # of a cached_property
        if getter is not None:
            yield f"    .{name}: {inspect.get_annotations(getter)['return']}"
        elif isinstance(value, (classmethod, FunctionType)):
            yield f"    .{name}{signature(getattr(kind, name))}"


def written(name: str) -> str:
    """What a constant or an alias is in the source: the libraries show their types in other words each year."""
    trees = (ast.parse(path.read_text("utf-8")) for path in PACKAGE.rglob("*.py"))
    return next(
        ast.unparse(node.value)
        for tree in trees
        for node in tree.body
        if isinstance(node, ast.AnnAssign | ast.Assign) and node.value is not None
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
        if ast.unparse(target) == name
    )


def lines(path: str, value: Any) -> Iterator[str]:
    if inspect.isclass(value):
        bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
        constructor = "" if "Protocol" in bases or "__init__" not in ours(value) else signature(value)
        yield f"{path}{constructor}" + (f" is {bases}" if bases else "")
        yield from members(value)
    elif inspect.isfunction(value):
        yield f"{path}{signature(value)}"
    else:
        yield f"{path} = {written(path.rpartition('.')[2])}"


def public_api() -> str:
    imported = f"from clip_image_encoder import {', '.join(clip_image_encoder.__all__)}"
    return (
        "\n".join([imported, *(line for path, value in public_names().items() for line in lines(path, value))]) + "\n"
    )


def test_the_public_names_and_signatures_are_those_that_were_agreed_on() -> None:
    assert public_api() == AGREED.read_text("utf-8")


if __name__ == "__main__":
    AGREED.write_text(public_api(), "utf-8")
