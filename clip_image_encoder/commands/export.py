"""Command `clip-image-encoder export MODEL -o FOLDER`: writes a folder that runs without torch."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from clip_image_encoder.commands._command import Answer, Commands, add_command

__all__ = ["add_export"]

_SUMMARY = "Write a model as a folder that runs without torch and transformers."
_DETAILS = """\
ImageEncoder(folder) and TextEncoder(folder) run it, on any machine that has the runtime. Exporting needs torch:
python -m pip install 'clip-image-encoder[onnx,export]' or 'clip-image-encoder[openvino,export]'

examples:
  clip-image-encoder export openai/clip-vit-base-patch32 -o clip-onnx
  clip-image-encoder export openai/clip-vit-base-patch32 -o clip-int8 --backend openvino --dtype int8
"""


def add_export(commands: Commands) -> None:
    """Add the command `export` to the command line's parser."""
    parser = add_command(commands, "export", run=_export, summary=_SUMMARY, details=_DETAILS)
    parser.add_argument("model", metavar="MODEL", help='Hub id, folder or "tiny-shapes".')
    parser.add_argument(
        "-o", "--output", required=True, metavar="FOLDER", help="Folder to write; it must be empty or not there."
    )
    parser.add_argument(
        "--backend", default="onnx", metavar="NAME", help="Runtime: onnx or openvino; default: %(default)s."
    )
    parser.add_argument(
        "--dtype",
        default="float32",
        metavar="NAME",
        help="Type of the numbers: float32, int8, or bfloat16 with openvino; default: %(default)s.",
    )
    parser.add_argument("--revision", metavar="NAME", help="Branch, tag or commit on the hub; default: the newest.")
    parser.add_argument(
        "--tokens",
        action="store_true",
        help="Give the vectors of all tokens of an image, for another pooling; default: one vector, pooled as the "
        "checkpoint was trained.",
    )
    parser.add_argument("--images-only", action="store_true", help="Leave the text tower out; default: export it, too.")


def _export(options: argparse.Namespace) -> Answer:
    from clip_image_encoder.backends._quality import Quality
    from clip_image_encoder.checkpoint.exported import CONFIG
    from clip_image_encoder.export import export

    export(
        options.model,
        options.output,
        backend=options.backend,
        dtype=options.dtype,
        output="tokens" if options.tokens else "pooled",
        texts=False if options.images_only else None,
        revision=options.revision,
    )
    config = json.loads((Path(options.output) / CONFIG).read_text("utf-8"))
    fitted = [(kind, config.get(kind, {}).get("quality")) for kind in ("vision", "text")]
    lines = [f"{kind} tower beside float32: {Quality(**quality)}" for kind, quality in fitted if quality]
    return Answer(text="\n".join([*lines, f"exported: {options.output}"]))
