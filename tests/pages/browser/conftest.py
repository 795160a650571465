"""Pages are opened in Chromium, where playwright is installed: in the nox session `browser`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from clip_image_encoder.commands._page import Group, Item, Page, html_of
from clip_image_encoder.tiny_shapes.draw import Scene, draw

if TYPE_CHECKING:
    from playwright.sync_api import Browser

collect_ignore = [] if find_spec("playwright") else ["test_pages.py"]

HOSTILE = (
    '"><img src=x onerror=alert(1)>.png',
    "<script>alert(1)<!--.png",
    "javascript:alert(1)#?%20&amp;.png",
    "a\nb\u202egpj.exe.png",
    "x' onfocus='alert(1).png",
)
NAMES = (*HOSTILE, "2024/summer/beach.png", f"{'a very long name ' * 10}.png")


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium: the one that CHROMIUM or the path names, or else the one that playwright has downloaded."""
    from playwright.sync_api import sync_playwright

    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of images of several shapes with hostile names, and of one that is missing."""
    root = tmp_path_factory.mktemp("page")
    for number, name in enumerate(NAMES):
        file = root / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        size = ((640, 427), (427, 640), (900, 300), (400, 400))[number % 4]
        draw(Scene(color="red", shape="star")).resize(size, Image.Resampling.BICUBIC).save(file)
    items = tuple(Item(name, 0.3 - number / 100) for number, name in enumerate((*NAMES, "missing.png")))
    title = "“a <b>dog</b> on a beach”"
    content = Page(title=title, subtitle="8 of 1,000,000 images", groups=(Group(title="", items=items),))
    file = root / "found.html"
    file.write_text(html_of(content, root=root / "photos", place=root), "utf-8")
    return file
