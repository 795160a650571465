"""The tables of the page about models say of each tower what is counted, and of each checkpoint what was published."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.programs.benchmarks.geometries import OpenClipTower
from tests.programs.benchmarks.models import Model, cells
from tests.programs.benchmarks.published import IMAGE_ONLY, IMAGE_TEXT
from tests.public import DOCS

PAGE = (DOCS / "how-to" / "choose-a-model.md").read_text("utf-8")
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| [`")]
MODELS: tuple[Model, ...] = (*IMAGE_TEXT, *IMAGE_ONLY)


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.name)
def test_a_row_says_what_is_counted_and_what_was_published(model: Model) -> None:
    if isinstance(model.tower, OpenClipTower) and not find_spec("open_clip"):
        pytest.skip("open_clip is not installed")
    counted = cells(model)
    (row,) = (row for row in ROWS if row[0] == counted[0])
    assert row[: len(counted)] == list(counted)
    assert row[-len(model.figures) :] == list(model.figures)
