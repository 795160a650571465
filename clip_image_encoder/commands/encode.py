"""Command `clip-image-encoder encode SOURCE -o vectors.parquet`: encodes the images of a folder or another source."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import TYPE_CHECKING

from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder.commands._command import Answer, Commands, add_command, add_load_in, add_runtime
from clip_image_encoder.errors import EncoderError

if TYPE_CHECKING:
    from clip_image_encoder.images import ImageLoader

__all__ = ["add_encode"]

_SUMMARY = "Write the vectors of all images in a folder, tar files, Parquet files or a list as Parquet files."
_DETAILS = """\
The same command again goes on where the last one stopped, and adds images that are new. Images that can't be
read are counted and listed in failed-*.parquet. Parquet needs: python -m pip install 'clip-image-encoder[parquet]'

examples:
  clip-image-encoder encode photos -o vectors.parquet
  clip-image-encoder encode photos -o vectors.parquet --model google/siglip-base-patch16-224 --device cuda
  clip-image-encoder encode photos -o vectors.parquet --model tiny-shapes     (bundled, needs no network)
  clip-image-encoder encode photos -o vectors.parquet --dry-run
  clip-image-encoder encode shards/*.tar -o vectors.parquet
  clip-image-encoder encode train-*.parquet -o vectors.parquet --column image
  clip-image-encoder encode list.csv -o vectors.parquet --column url --allow-urls
"""


def add_encode(commands: Commands) -> None:
    """Add the command `encode` to the command line's parser."""
    parser = add_command(commands, "encode", run=_encode, summary=_SUMMARY, details=_DETAILS)
    parser.add_argument(
        "source",
        metavar="SOURCE",
        nargs="+",
        help="Folder of images, whose folders are searched, too; tar files; Parquet files with the bytes of images; or "
        "a list of paths and URLs, .txt, .csv or .tsv.",
    )
    parser.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FOLDER",
        help="Folder or URL that the Parquet files are written to, such as vectors.parquet; it is made if need be.",
    )
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, metavar="NAME", help='Hub id, folder or "tiny-shapes"; default: %(default)s.'
    )
    add_runtime(parser)
    parser.add_argument(
        "--batch-size",
        type=int,
        metavar="N",
        help="Number of images that pass the model at a time; default: 128 on cuda and 32 elsewhere.",
    )
    parser.add_argument(
        "--num-workers",
        type=int,
        metavar="N",
        help="Number of threads that load images ahead of the model; default: one for each core.",
    )
    add_load_in(parser)
    _add_choices(parser)
    once = parser.add_mutually_exclusive_group()
    once.add_argument(
        "--retry-failed", action="store_true", help="Try images again that failed before; default: leave them."
    )
    once.add_argument(
        "--dry-run", action="store_true", help="Count what would be done, without the model, and write nothing."
    )


def _add_choices(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which files are images, and how they are read."""
    parser.add_argument(
        "--formats",
        metavar="NAMES",
        help="Formats that are read, with commas, such as JPEG,PNG; default: all that ImageLoader reads.",
    )
    parser.add_argument(
        "--all",
        action="store_true",
        help="Judge files by their first bytes, whatever their names end with; default: by the endings.",
    )
    parser.add_argument(
        "--raw-photos",
        choices=("refuse", "develop", "preview"),
        default="refuse",
        help="What to do with cameras' raw photos, such as .dng and .cr2; default: refuse.",
    )
    parser.add_argument(
        "--column",
        metavar="NAME",
        help="Column of images in Parquet files, default: image; or of paths in a .csv or .tsv, default: path, url or "
        "image.",
    )
    parser.add_argument(
        "--name-column",
        metavar="NAME",
        help="Column in Parquet files whose values name the images; default: the file's name and the row's number.",
    )
    parser.add_argument(
        "--allow-urls", action="store_true", help="Read the http(s) URLs of a list, of public hosts; default: refuse."
    )


def _encode(options: argparse.Namespace) -> Answer:
    from clip_image_encoder.encoder import ImageEncoder
    from clip_image_encoder.folder import embed_images, plan_images
    from clip_image_encoder.sources import open_source

    loader = _loader(options)
    source = open_source(
        options.source,
        column=options.column,
        name_column=options.name_column,
        by_content=options.all,
        without=options.output,
    )
    if options.dry_run:
        plan = plan_images(source, options.output, loader=loader)
        return _answer(f"{plan.new} new, {plan.done} written before: {options.output}", plan.left_out)
    encoder = ImageEncoder(
        options.model,
        backend=options.backend,
        device=options.device,
        dtype=options.dtype,
        loader=loader,
        num_workers=options.num_workers,
        load_in=options.load_in,
    )
    try:
        summary = embed_images(
            source, options.output, encoder, batch_size=options.batch_size, retry_failed=options.retry_failed
        )
    except OSError as error:
        if isinstance(error, EncoderError):
            raise
        # pyarrow's errors have no file name.
        raise OSError(error.errno, error.strerror or str(error), error.filename or options.output) from error
    counts = f"{summary.embedded} embedded, {summary.failed} failed, {summary.skipped} written before"
    return _answer(f"{counts}: {options.output}", summary.left_out)


def _loader(options: argparse.Namespace) -> ImageLoader:
    from clip_image_encoder.images import DEFAULT_FORMATS, ImageLoader, UrlPolicy

    formats = tuple(options.formats.upper().split(",")) if options.formats else DEFAULT_FORMATS
    urls = UrlPolicy() if options.allow_urls else None
    return ImageLoader(formats=formats, raw_photos=options.raw_photos, urls=urls)


def _answer(counts: str, left_out: Mapping[str, int]) -> Answer:
    from clip_image_encoder.images.listing import describe_endings

    return Answer(text=f"{counts}\nleft out: {describe_endings(left_out)}" if left_out else counts)
