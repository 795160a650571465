"""The pages of `search --html` in Chromium: loaded without complaint, walked by keyboard, light, dark and on a phone.

nox -s browser; with SCREENSHOTS=folder it leaves screenshots there to look at.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

from tests.pages.browser.conftest import NAMES


@dataclass
class Opened:
    """A page in a tab, with all that the browser has complained of, asked, or requested meanwhile."""

    tab: Tab
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Open]:
    """Opens the page in a window of a size and a color scheme."""
    contexts: list[Any] = []

    def open_page(width: int = 1280, height: int = 900, scheme: Any = "light") -> Opened:
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        context.set_default_timeout(5000)
        contexts.append(context)
        found = Opened(context.new_page())
        found.tab.on("console", lambda message: found.complaints.append(message.text))
        found.tab.on("pageerror", lambda error: found.complaints.append(str(error)))
        # With a listener a dialog has to be answered: the tab's next step would wait for it, and fail.
        found.tab.on("dialog", lambda dialog: found.complaints.append(dialog.message))
        found.tab.on("request", lambda request: found.requests.append(request.url))
        found.tab.goto(page.as_uri())
        if folder := os.environ.get("SCREENSHOTS"):
            Path(folder).mkdir(exist_ok=True)
            found.tab.screenshot(path=Path(folder) / f"{width}-{scheme}.png", full_page=True)
        return found

    yield open_page
    for context in contexts:
        context.close()


def luminance(color: str) -> float:
    """Return the relative luminance of "rgb(r, g, b)", as WCAG computes it."""
    channels = [int(number) / 255 for number in color.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(tab: Tab, selector: str) -> float:
    """Return the contrast of an element's text with the page."""
    color, paper = tab.eval_on_selector(
        selector, "element => [getComputedStyle(element).color, getComputedStyle(document.body).backgroundColor]"
    )
    low, high = sorted([luminance(color), luminance(paper)])
    return (high + 0.05) / (low + 0.05)


def test_it_loads_its_thumbnails_and_nothing_else_and_no_name_comes_alive(opened: Open, page: Path) -> None:
    shown = opened()
    loaded = shown.tab.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth > 0)")
    assert loaded == [True] * len(NAMES)
    assert shown.complaints == []
    assert shown.requests == [page.as_uri()]
    assert shown.tab.locator("h1").inner_text() == "“a <b>dog</b> on a beach”"


def test_the_style_is_the_one_that_the_policy_allows(opened: Open) -> None:
    assert opened().tab.eval_on_selector("ol", "list => getComputedStyle(list).display") == "flex"


def test_the_policy_stops_a_script_that_gets_onto_the_page(opened: Open) -> None:
    tab = opened().tab
    with tab.expect_console_message(lambda message: "Content Security Policy" in message.text):
        tab.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.alive=1\">')")
    assert tab.evaluate("window.alive") is None


def test_the_keyboard_reaches_every_image_in_order_and_enter_opens_it(opened: Open, page: Path) -> None:
    tab = opened().tab
    for name in NAMES:
        tab.keyboard.press("Tab")
        assert tab.evaluate("document.activeElement.title") == "".join(
            letter if letter.isprintable() else ascii(letter)[1:-1] for letter in name
        )
        assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    with tab.expect_navigation():
        tab.keyboard.press("Enter")
    assert tab.url == (page.parent / "photos" / NAMES[-1]).as_uri()


@pytest.mark.parametrize("place", range(len(NAMES)), ids=[ascii(name)[1:20] for name in NAMES])
def test_a_click_opens_the_image_itself(place: int, opened: Open, page: Path) -> None:
    shown = opened()
    with shown.tab.expect_navigation():
        shown.tab.locator("ol a").nth(place).click()
    assert shown.tab.evaluate("document.images[0].naturalWidth") > 0
    assert Path(page.parent, "photos", NAMES[place]).as_uri() == shown.tab.url.replace("'", "%27")
    assert shown.complaints == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_on_light_and_on_dark_paper(scheme: str, opened: Open) -> None:
    tab = opened(scheme=scheme).tab
    paper = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert luminance(paper) > 0.8 if scheme == "light" else luminance(paper) < 0.02
    for selector in ("h1", "header p", ".name", ".score", ".place", ".none"):
        assert contrast(tab, selector) >= 4.5, selector


@pytest.mark.parametrize(("width", "scheme"), [(390, "light"), (320, "dark"), (1920, "light")])
def test_nothing_sticks_out_of_the_window(width: int, scheme: str, opened: Open) -> None:
    tab = opened(width, 844, scheme).tab
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    boxes = tab.eval_on_selector_all("li", "items => items.map(item => item.getBoundingClientRect().toJSON())")
    assert all(box["left"] >= 0 and box["right"] <= width and box["width"] >= 80 for box in boxes)


def test_images_of_a_row_have_one_height_and_their_own_shapes(opened: Open) -> None:
    tab = opened().tab
    boxes = tab.eval_on_selector_all(
        "img", "images => images.map(image => [image.getBoundingClientRect().toJSON(), image.width / image.height])"
    )
    rows: dict[int, list[float]] = {}
    for box, _ in boxes:
        rows.setdefault(round(box["top"]), []).append(box["height"])
    assert len(rows) > 1
    assert all(max(heights) - min(heights) < 2 for heights in rows.values())
