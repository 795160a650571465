"""Options of the commands that write a page of images, and the writing of the page."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from clip_image_encoder.errors import ConfigurationError

if TYPE_CHECKING:
    from clip_image_encoder.commands._page import Page

__all__ = ["add_page_options", "check_page_options", "write_page"]


def add_page_options(parser: argparse.ArgumentParser) -> None:
    """Add the options to a command's parser."""
    parser.add_argument("--html", metavar="FILE", help="Write a page that needs no other file; default: none.")
    parser.add_argument(
        "--images",
        metavar="FOLDER",
        help="Folder that was encoded, whose images are shown on the page; default: the page shows paths only.",
    )


def check_page_options(options: argparse.Namespace) -> None:
    """Check the options before the work is done.

    Raises:
        ConfigurationError: The folder of images is missing, or no page is asked for that would show them.
    """
    if options.images is None:
        return
    if options.html is None:
        raise ConfigurationError("--images is for the page of --html FILE, which is missing")
    if not Path(options.images).is_dir():
        raise ConfigurationError(f"{options.images} is not a folder")


def write_page(options: argparse.Namespace, page: Page) -> list[str]:
    """Write the page if the options ask for one, and return the lines that say so.

    Raises:
        OSError: The file can't be written.
    """
    if options.html is None:
        return []
    from clip_image_encoder.commands._page import html_of

    file = Path(options.html)
    root = None if options.images is None else Path(options.images)
    file.write_text(html_of(page, root=root, place=file.parent), encoding="utf-8")
    return [f"page: {options.html}"]
