"""The command `clip-image-encoder measure MODEL`: print how fast and how exact each backend and dtype is here."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from clip_image_encoder.commands._command import Answer, Commands, add_command

if TYPE_CHECKING:
    from clip_image_encoder.measure import Measured, Measurement

__all__ = ["add_measure"]

_SUMMARY = "Measure which backend and dtype encode a model's images fastest on this machine's CPU."
_DETAILS = """\
Each backend and dtype is compared with torch in float32: how many times as many images pass the model in a second,
and the cosines between the vectors. The first time takes some minutes, since graphs are made and stored. The result
is stored, too, and printed at once the next time on the same processor with the same versions of the packages.

examples:
  clip-image-encoder measure openai/clip-vit-base-patch32
  clip-image-encoder measure openai/clip-vit-base-patch32 --images ./some-of-my-photos
"""


def add_measure(commands: Commands) -> None:
    """Add the command to the parser."""
    parser = add_command(commands, "measure", run=_measure, summary=_SUMMARY, details=_DETAILS)
    parser.add_argument("model", metavar="MODEL", help='Hub id, folder or "tiny-shapes".')
    parser.add_argument(
        "--images", metavar="FOLDER", help="Images whose vectors are compared, some dozens; default: 64 drawings."
    )
    parser.add_argument(
        "--again", action="store_true", help="Measure again, for example because the machine was busy the last time."
    )
    parser.add_argument("--revision", metavar="NAME", help="Branch, tag or commit on the hub; default: the newest.")
    parser.add_argument("--json", action="store_true", help="Print one JSON object for scripts; default: a table.")


def _measure(options: argparse.Namespace) -> Answer:
    from clip_image_encoder.images import ImageLoader
    from clip_image_encoder.images.listing import images_below, path_of
    from clip_image_encoder.measure import measure

    images = None
    if options.images is not None:
        root = Path(options.images)
        images = [path_of(root, name) for name in images_below(root, ImageLoader().formats)]
    found = measure(options.model, images=images, again=options.again, revision=options.revision)
    return Answer(text=json.dumps(asdict(found), indent=2) if options.json else "\n".join(_lines(found)))


def _lines(found: Measurement) -> list[str]:
    return [
        "backend   dtype     times faster   mean cosine   worst   same nearest",
        *map(_line, found.measured),
        *(f"left out: {each.backend} in {each.dtype}: {each.reason}" for each in found.left_out),
    ]


def _line(each: Measured) -> str:
    name = f"{each.backend:9} {each.dtype:9}"
    return f"{name} {each.times_faster:12.2f}   {each.mean:11.4f}   {each.worst:.3f}   {each.same_nearest:12.0%}"
