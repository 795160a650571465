"""The README and the pages for contributors name files that are there."""

from __future__ import annotations

import re

import pytest

from tests.public import DOCS

ROOT = DOCS.parent
PAGES = ("CONTRIBUTING.md", "explanation/how-to-read-this-code.md")


@pytest.mark.parametrize("name", PAGES)
def test_a_file_or_folder_that_a_page_names_is_there(name: str) -> None:
    text = re.sub(r"```.*?```", "", (DOCS / name).read_text("utf-8"), flags=re.DOTALL)
    named = {found.rstrip("/") for found in re.findall(r"`([\w./-]+(?:\.py|\.md|\.txt|\.toml|/))`", text)}
    assert named
    places = [
        str(path.relative_to(ROOT))
        for top in ("clip_image_encoder", "docs", "tests")
        for path in (ROOT / top).rglob("*")
    ]
    places += ["clip_image_encoder", "docs", "tests", *(path.name for path in ROOT.iterdir())]
    lost = {file for file in named if not any(f"/{place}".endswith(f"/{file}") for place in places)}
    assert not lost


def test_a_link_of_the_readme_leads_to_a_file() -> None:
    text = (ROOT / "README.md").read_text("utf-8")
    links = re.findall(r'(?:\]\(|src="|srcset=")(?!https?:)([^)"#]+)', text)
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []
