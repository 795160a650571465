"""Docstrings whose lines can be read alone, as an editor shows them beside an argument."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[3] / "clip_image_encoder"

# A line that begins with one of these leans on another one, which the reader of an argument does not see.
LEANING = frozenset(
    re.split(
        r" ",
        "about above after against and as at because before below beside between but by for from if in into like of on "
        "onto or over since so than that though through to under unless until up via when where which while who whom "
        "whose with within without",
    )
)
SECTIONS = frozenset({"Args", "Attributes", "Raises"})


def docstrings(tree: ast.Module) -> Iterator[str]:
    """Yield the docstrings of a module and of all that is in it, those below a constant's or a field's value too."""
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        for statement in body if isinstance(body, list) else ():
            if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
                text = statement.value.value
                if isinstance(text, str):
                    yield text


def leaning(docstring: str) -> Iterator[str]:
    """Yield the first line of a docstring, and those of its entries, that begin with a leaning word."""
    section = ""
    for number, line in enumerate(docstring.splitlines()):
        if heading := re.match(r"\s*(\w+):$", line):
            section = heading[1]
        entry = re.match(r"\s+[*\w.]+: (.*)", line) if section in SECTIONS else None
        said = entry[1] if entry else line if number == 0 else ""
        if re.split(r"\W", said.lower(), maxsplit=1)[0] in LEANING:
            yield line.strip()


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: str(file.relative_to(PACKAGE)))
def test_each_line_can_be_read_alone(file: Path) -> None:
    found = [line for docstring in docstrings(ast.parse(file.read_text("utf-8"))) for line in leaning(docstring)]
    assert not found, "\n".join(found)


def test_a_line_that_leans_on_another_is_found() -> None:
    written = "Of both.\n\nArgs:\n    size: In pixels.\n    name: The file.\n    place: that it lies in.\n"
    assert list(leaning(written)) == ["Of both.", "size: In pixels.", "place: that it lies in."]
