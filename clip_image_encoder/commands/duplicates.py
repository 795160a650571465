"""The command `clip-image-encoder duplicates VECTORS`: list images that are nearly the same."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from clip_image_encoder.commands._command import Answer, Commands, add_command
from clip_image_encoder.commands._page_options import add_page_options, check_page_options, write_page

if TYPE_CHECKING:
    from clip_image_encoder.commands._page import Group

__all__ = ["add_duplicates"]

_SUMMARY = "List groups of images that are nearly the same, among encoded ones."
_DETAILS = """\
VECTORS is the folder that the command encode has written. Images are in one group if their cosine reaches the
threshold, or if other images lead from one to the other in such steps. All pairs are compared: 100,000 images take
about a minute on two cores, and a million an hour and a half.

examples:
  clip-image-encoder duplicates vectors.parquet
  clip-image-encoder duplicates vectors.parquet --threshold 0.98 --html duplicates.html --images photos
"""


def add_duplicates(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(commands, "duplicates", run=_duplicates, summary=_SUMMARY, details=_DETAILS)
    parser.add_argument("vectors", metavar="VECTORS", help="Folder or URL that the command encode has written to.")
    parser.add_argument(
        "--threshold",
        type=float,
        default=0.95,
        metavar="COSINE",
        help="Lowest cosine of near duplicates, at most 1; default: %(default)s.",
    )
    add_page_options(parser)


def _duplicates(options: argparse.Namespace) -> Answer:
    from clip_image_encoder.commands._page import Group, Item, Page
    from clip_image_encoder.search import near_duplicates
    from clip_image_encoder.stored_vectors import open_vectors

    check_page_options(options)
    stored = open_vectors(options.vectors)
    groups = []
    for found in near_duplicates(stored.vectors, options.threshold):
        paths = [stored.paths[row] for row in found.indices]
        items = sorted(map(Item, paths, found.scores.tolist()), key=lambda item: item.path)
        groups.append(Group(title=f"{len(items):,} images", items=tuple(items)))
    count = sum(len(group.items) for group in groups)
    many = "1 group" if len(groups) == 1 else f"{len(groups):,} groups"
    summary = f"{count:,} of {len(stored.paths):,} images in {many}, from a cosine of {options.threshold:g}"
    page = Page(title="Near duplicates", subtitle=summary, groups=tuple(groups))
    return Answer(text="\n".join([summary, *_lines(groups), *write_page(options, page)]))


def _lines(groups: list[Group]) -> Iterator[str]:
    """Yield an empty line and the rows of each group."""
    from clip_image_encoder.commands._terminal import row_of

    for group in groups:
        yield ""
        yield from (row_of(item.score, item.path) for item in group.items)
