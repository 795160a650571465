"""The benchmark's page, and what README and docs quote from it, follow from the file of its results."""

from __future__ import annotations

import re

import pytest

from tests.programs.benchmarks.quoted import PAGES, QUOTES, ROOT, quote
from tests.programs.benchmarks.report import page
from tests.programs.benchmarks.results import Results
from tests.public import DOCS

RESULTS = Results(DOCS / "benchmarks" / "cpu.json")


def test_the_page_is_what_the_results_give() -> None:
    assert (DOCS / "benchmarks" / "cpu.md").read_text("utf-8") == page(RESULTS)


@pytest.mark.parametrize("name", PAGES)
def test_quoted_figures_are_those_of_the_results(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    assert "<!-- cpu.json: " in text
    assert text == quote(text, RESULTS)


def test_every_quote_is_somewhere() -> None:
    texts = [(ROOT / name).read_text("utf-8") for name in PAGES]
    assert {name for text in texts for name in re.findall(r"<!-- cpu\.json: ([a-z-]+) -->", text)} == set(QUOTES)
