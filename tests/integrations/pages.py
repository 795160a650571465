"""The pages of the integrations as they are written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[2] / "docs"


def code_blocks(page: str, language: str) -> list[str]:
    """Return a page's blocks of code in a language, in their order."""
    text = (DOCS / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def names_of(page: str) -> dict[str, Any]:
    """Run a page's first block of Python, and return what it defines."""
    names: dict[str, Any] = {}
    exec(compile(code_blocks(page, "python")[0], page, "exec"), names)  # noqa: S102 - our own page
    return names
