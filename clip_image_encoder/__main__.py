"""python -m clip_image_encoder FOLDER -o vectors.parquet: the vectors of a folder of pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder.errors import EncoderError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, do the work, and return the exit status: 0, or 1 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m clip_image_encoder",
        description="Write the CLIP vectors of a folder of pictures as Parquet; call it again to resume or to add.",
    )
    parser.add_argument("folder", help="of pictures; folders in it are searched, too")
    parser.add_argument("-o", "--output", required=True, help="folder of Parquet files, such as vectors.parquet")
    parser.add_argument("--model", default=DEFAULT_MODEL, help="default: %(default)s")
    parser.add_argument("--backend", default="torch", help="torch, onnx or openvino; default: %(default)s")
    parser.add_argument("--device", help="cpu, cuda, cuda:1 and so on; default: the best there is")
    parser.add_argument("--dtype", default="auto", help="float32, bfloat16, float16 or int8; default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=32, help="default: %(default)s")
    parser.add_argument("--num-workers", type=int, help="decoding threads; default: one for each core")
    parser.add_argument("--retry-failed", action="store_true", help="try pictures again that failed before")
    options = parser.parse_args(arguments)
    try:
        from clip_image_encoder.encoder import ImageEncoder
        from clip_image_encoder.folder import embed_folder

        encoder = ImageEncoder(
            options.model,
            backend=options.backend,
            device=options.device,
            dtype=options.dtype,
            num_workers=options.num_workers,
        )
        summary = embed_folder(
            options.folder, options.output, encoder, batch_size=options.batch_size, retry_failed=options.retry_failed
        )
    except EncoderError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"error: {error.filename or options.output}: {error.strerror or error}", file=sys.stderr)
        return 1
    print(f"{summary.embedded} embedded, {summary.failed} failed, {summary.skipped} written before: {options.output}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
