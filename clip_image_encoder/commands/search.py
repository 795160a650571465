"""The command `clip-image-encoder search VECTORS QUERY`: find images by words or by an image."""

from __future__ import annotations

import argparse
from pathlib import Path

from clip_image_encoder.commands._command import Answer, Commands, add_command
from clip_image_encoder.commands._page_options import add_page_options, check_page_options, write_page

__all__ = ["add_search"]

_SUMMARY = "Find the images that a text describes, or that resemble an image, among encoded ones."
_DETAILS = """\
VECTORS is the folder that the command encode has written. All vectors are compared; no database is needed. Several
words are one text. A text of another model than the vectors' is an error that names the model which is needed.

examples:
  clip-image-encoder search vectors.parquet "a dog on a beach"
  clip-image-encoder search vectors.parquet --image cat.jpg -k 20
  clip-image-encoder search vectors.parquet a red bicycle --html found.html --images photos
"""


def add_search(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(commands, "search", run=_search, summary=_SUMMARY, details=_DETAILS)
    parser.add_argument("vectors", metavar="VECTORS", help="Folder or URL that the command encode has written to.")
    # --image is a flag, since argparse would not find words behind an option if they might be left out.
    parser.add_argument("query", metavar="QUERY", nargs="+", help="Text; with --image, the path of an image.")
    parser.add_argument("--image", action="store_true", help="Take QUERY as the path of an image; default: as a text.")
    parser.add_argument("-k", type=int, default=10, metavar="N", help="Number of images to find; default: 10.")
    parser.add_argument(
        "--model",
        metavar="NAME",
        help='Hub id, folder or "tiny-shapes"; default: the model that is stored with the vectors.',
    )
    add_page_options(parser)


def _search(options: argparse.Namespace) -> Answer:
    from clip_image_encoder._arguments import check_count
    from clip_image_encoder.commands._page import Group, Item, Page
    from clip_image_encoder.commands._queries import image_vector, text_vector
    from clip_image_encoder.commands._terminal import row_of
    from clip_image_encoder.search import search
    from clip_image_encoder.stored_vectors import open_vectors

    # Before the model, which takes seconds to load.
    check_count(options.k, name="-k")
    check_page_options(options)
    stored = open_vectors(options.vectors)
    query = " ".join(options.query)
    if options.image:
        vector = image_vector(Path(query), stored, model=options.model)
    else:
        vector = text_vector(query, stored, model=options.model)
    indices, scores = search(stored.vectors, vector, options.k)
    found = tuple(Item(stored.paths[row], score) for row, score in zip(indices, scores.tolist(), strict=True))
    page = Page(
        title=f"Like {Path(query).name}" if options.image else f"“{query}”",
        subtitle=f"{len(found):,} of {len(stored.paths):,} images",
        groups=(Group(title="", items=found),),
    )
    rows = [row_of(item.score, item.path) for item in found]
    return Answer(text="\n".join(["   score  path", *rows, *write_page(options, page)]))
