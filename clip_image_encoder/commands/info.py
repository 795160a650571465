"""Command `clip-image-encoder info MODEL`: shows what a checkpoint is and what of it runs here, without its weights."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from clip_image_encoder.commands._command import Answer, Commands, add_command

__all__ = ["add_info"]

_SUMMARY = "Tell what a model is, what of it can be loaded here, and what is missing."
_DETAILS = """\
The configs are read, and downloaded if need be; the weights are neither downloaded nor loaded. The exit status is 1
if neither images nor texts can be encoded.

examples:
  clip-image-encoder info tiny-shapes
  clip-image-encoder info openai/clip-vit-base-patch32
  clip-image-encoder info ./my-checkpoint --fingerprint --json
"""


def add_info(commands: Commands) -> None:
    """Add the command `info` to the command line's parser."""
    parser = add_command(commands, "info", run=_info, summary=_SUMMARY, details=_DETAILS)
    parser.add_argument(
        "model",
        metavar="MODEL",
        help='Hub id, folder or "tiny-shapes", in the format of transformers, open_clip or sentence-transformers.',
    )
    parser.add_argument(
        "--revision", metavar="NAME", help="Branch, tag or commit on the hub; default: the newest commit."
    )
    parser.add_argument(
        "--local-files-only", action="store_true", help="Never ask the network; default: ask the hub once."
    )
    parser.add_argument(
        "--fingerprint",
        action="store_true",
        help="Tell the SHA-256 of the config and the weights, too; the weights are downloaded and read whole, which "
        "takes seconds for each GB; default: leave it out.",
    )
    parser.add_argument("--json", action="store_true", help="Print one JSON object for scripts; default: lines.")


def _info(options: argparse.Namespace) -> Answer:
    from clip_image_encoder.checkpoint import open_checkpoint
    from clip_image_encoder.commands._facts import facts_of
    from clip_image_encoder.commands._lines import lines_of

    checkpoint = open_checkpoint(options.model, revision=options.revision, local_files_only=options.local_files_only)
    facts = facts_of(checkpoint, with_fingerprint=options.fingerprint)
    text = json.dumps(asdict(facts), indent=2) if options.json else "\n".join(lines_of(facts))
    return Answer(text=text, status=0 if facts.encodes else 1)
