"""A page of images for a browser, complete in one file, without scripts; texts and paths in it may be strangers'."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from html import escape
from pathlib import Path

from clip_image_encoder.commands._page_style import STYLE
from clip_image_encoder.commands._terminal import printable
from clip_image_encoder.commands._thumbnails import Thumbnail, thumbnails

__all__ = ["Group", "Item", "Page", "html_of"]

# 30 MB of thumbnails; a browser is slow with more.
_MOST = 500


@dataclass(frozen=True)
class Item:
    """An image of a page: its path, as it is stored with the vectors, and its cosine."""

    path: str
    score: float


@dataclass(frozen=True, kw_only=True)
class Group:
    """Images that belong together.

    Attributes:
        title: Heading of the group; "" leaves it out.
        items: Images in order.
    """

    title: str
    items: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class Page:
    """Content of a page.

    Attributes:
        title: Heading of the page, such as the query.
        subtitle: Line below the heading.
        groups: Groups of images in order.
    """

    title: str
    subtitle: str
    groups: tuple[Group, ...]


def html_of(page: Page, *, root: Path | None, place: Path) -> str:
    """Return a page as HTML.

    Args:
        page: Content of the page; images after the first 500 are left out, and the page says so.
        root: Folder of the images, for thumbnails and links; None shows paths only.
        place: Folder that the page will be in, which links are relative to.
    """
    groups, left_out = _first(page.groups)
    paths = [item.path for group in groups for item in group.items]
    if root is None:
        lines = [line for group in groups for line in _section(group, iter([None] * len(group.items)))]
        style = STYLE
    else:
        with closing(thumbnails(paths, root, place=place)) as made:
            shown = list(made)
        remaining = iter(shown)
        lines = [line for group in groups for line in _section(group, remaining)]
        style = STYLE + "".join(
            f".{_shape(ratio)}{{--ratio:{ratio / 20}}}\n" for ratio in sorted({*map(_ratio, shown)})
        )
    if left_out:
        lines.append(f'<p class="rest">The other {left_out:,} images are left out.</p>')
    return "\n".join([*_head(page, style), *lines, "</main>", "</body>", "</html>", ""])


def _first(groups: tuple[Group, ...]) -> tuple[list[Group], int]:
    """Return the groups with as many images as a page may have, and the number of those that are left out."""
    kept: list[Group] = []
    room = _MOST
    for group in groups:
        if room:
            kept.append(Group(title=group.title, items=group.items[:room]))
            room -= len(kept[-1].items)
    return kept, sum(len(group.items) for group in groups) - (_MOST - room)


def _head(page: Page, style: str) -> list[str]:
    title, subtitle = escape(printable(page.title)), escape(printable(page.subtitle))
    # Nothing but the thumbnails and this very style is loaded, whatever a name manages to bring onto the page.
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">',
        '<meta name="referrer" content="no-referrer">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title>",
        f"<style>{style}</style>",
        "</head>",
        "<body>",
        f"<header><h1><bdi>{title}</bdi></h1><p>{subtitle}</p></header>",
        "<main>",
    ]


def _section(group: Group, shown: Iterator[Thumbnail | None]) -> Iterator[str]:
    yield "<section>"
    if group.title:
        yield f"<h2>{escape(group.title)}</h2>"
    items = [(item, next(shown)) for item in group.items]
    kind = "paths" if all(thumbnail is None for _, thumbnail in items) else "images"
    yield f'<ol class="{kind}">'
    for item, thumbnail in items:
        yield _path(item) if thumbnail is None else _image(item, thumbnail)
    yield "</ol>"
    yield "</section>"


def _path(item: Item) -> str:
    return f"<li>{_caption(item)}</li>"


def _image(item: Item, thumbnail: Thumbnail) -> str:
    if thumbnail.source is None:
        picture = f'<span class="none">{escape(printable(thumbnail.problem or ""))}</span>'
    else:
        # Without a text of its own, since the caption is in the same link.
        size = f'width="{thumbnail.width}" height="{thumbnail.height}"'
        picture = f'<img src="{thumbnail.source}" alt="" {size}>'
    content = f"{picture}{_caption(item)}"
    if thumbnail.link is not None:
        content = f'<a href="{escape(thumbnail.link)}" title="{escape(printable(item.path))}">{content}</a>'
    return f'<li class="{_shape(_ratio(thumbnail))}">{content}</li>'


def _caption(item: Item) -> str:
    folder, slash, name = printable(item.path).rpartition("/")
    place = f'<span class="place"><bdi>{escape(folder)}</bdi></span>' if slash else ""
    return (
        f'<span class="caption"><span class="name"><bdi>{escape(name)}</bdi></span> '
        f'<span class="score">{item.score:.3f}</span>{place}</span>'
    )


def _ratio(thumbnail: Thumbnail) -> int:
    """Return the width of an image in twentieths of its height, not so narrow that its caption has no room."""
    if thumbnail.source is None:
        return 26
    return max(14, min(60, round(20 * thumbnail.width / thumbnail.height)))


def _shape(ratio: int) -> str:
    return f"r{ratio}"
