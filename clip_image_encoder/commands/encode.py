"""Command `clip-image-encoder encode FOLDER -o vectors.parquet`: encodes a folder of images."""

from __future__ import annotations

import argparse

from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder.commands._command import Answer, Commands, add_command
from clip_image_encoder.errors import EncoderError

__all__ = ["add_encode"]

_SUMMARY = "Write the vectors of all images in a folder as Parquet files."
_DETAILS = """\
The same command again goes on where the last one stopped, and adds images that are new. Images that can't be
read are counted and listed in failed-*.parquet. Parquet needs: python -m pip install 'clip-image-encoder[parquet]'

examples:
  clip-image-encoder encode photos -o vectors.parquet
  clip-image-encoder encode photos -o vectors.parquet --model google/siglip-base-patch16-224 --device cuda
  clip-image-encoder encode photos -o vectors.parquet --model tiny-shapes     (bundled, needs no network)
"""


def add_encode(commands: Commands) -> None:
    """Add the command `encode` to the command line's parser."""
    parser = add_command(commands, "encode", run=_encode, summary=_SUMMARY, details=_DETAILS)
    parser.add_argument("folder", metavar="FOLDER", help="Folder of images; the folders in it are searched, too.")
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
    parser.add_argument(
        "--backend",
        metavar="NAME",
        help="Runtime: torch, onnx or openvino; default: torch, or what an exported folder was made for.",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="Device, such as cpu, cuda or cuda:1; default: the best that there is."
    )
    parser.add_argument(
        "--dtype",
        default="auto",
        metavar="NAME",
        help="Type of the numbers: float32, bfloat16, float16 or int8, where the backend has it; default: auto, which "
        "is float16 on cuda and float32 elsewhere.",
    )
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
    parser.add_argument(
        "--retry-failed", action="store_true", help="Try images again that failed before; default: leave them."
    )


def _encode(options: argparse.Namespace) -> Answer:
    from clip_image_encoder.encoder import ImageEncoder
    from clip_image_encoder.folder import embed_folder

    encoder = ImageEncoder(
        options.model,
        backend=options.backend,
        device=options.device,
        dtype=options.dtype,
        num_workers=options.num_workers,
    )
    try:
        summary = embed_folder(
            options.folder, options.output, encoder, batch_size=options.batch_size, retry_failed=options.retry_failed
        )
    except OSError as error:
        if isinstance(error, EncoderError):
            raise
        # pyarrow's errors have no file name.
        raise OSError(error.errno, error.strerror or str(error), error.filename or options.output) from error
    counts = f"{summary.embedded} embedded, {summary.failed} failed, {summary.skipped} written before"
    return Answer(text=f"{counts}: {options.output}")
