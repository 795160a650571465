"""Where tests lie: in five kinds of folders, with helpers that are told apart by their names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[2]


def test_there_are_five_kinds_of_tests() -> None:
    folders = {path.relative_to(TESTS).parts[0] for path in TESTS.rglob("*.py") if path.parent != TESTS}
    assert folders == {"units", "promises", "integrations", "pages", "programs"}


def test_no_two_helpers_have_one_name() -> None:
    helpers = Counter(path.name for path in TESTS.rglob("*.py") if not path.name.startswith(("test_", "conftest.py")))
    assert [name for name, count in helpers.items() if count > 1] == []


def test_no_folder_is_a_package() -> None:
    assert list(TESTS.rglob("__init__.py")) == []
