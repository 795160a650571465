"""The command line: `clip-image-encoder COMMAND ...`, or `python -m clip_image_encoder COMMAND ...`."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path

from clip_image_encoder import __version__
from clip_image_encoder.commands import ADD_COMMANDS
from clip_image_encoder.errors import EncoderError

__all__ = ["entry", "main"]

_NAME = "clip-image-encoder"
_FAILED, _MISUSED, _INTERRUPTED = 1, 2, 130
_DETAILS = """\
examples:
  clip-image-encoder encode photos -o vectors.parquet
  clip-image-encoder search vectors.parquet "a dog on a beach"
  clip-image-encoder info openai/clip-vit-base-patch32
  clip-image-encoder encode --help

exit status: 0 for success, 1 after an error, 2 for a wrong command line, 130 after Ctrl-C
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse the command line, run its command, and return the exit status.

    Args:
        arguments: Words of the command line without the program's name; None means those of this process.

    Raises:
        SystemExit: The command line is wrong, or asks for the help or the version.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = _parser()
    if not given:
        parser.print_help(sys.stderr)
        return _MISUSED
    if given[0] not in ADD_COMMANDS and Path(given[0]).is_dir():
        parser.error(f"{given[0]} is a folder; did you mean: {_NAME} encode {shlex.join(given)}")
    options = parser.parse_args(given)
    try:
        answer = options.run(options)
    except EncoderError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return _INTERRUPTED
    _write(f"{answer.text}\n")
    status: int = answer.status
    return status


def entry() -> None:
    """Run the command line of this process, and exit with its status."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a path may hold bytes that are not valid text
    try:
        sys.exit(main())
    finally:
        _write("")  # flushes what argparse has printed, such as the help


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_NAME,
        description="Turn images into CLIP vectors, search in them, and look at the models that make them.",
        epilog=_DETAILS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-V", "--version", action="version", version=f"{_NAME} {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for add in ADD_COMMANDS.values():
        add(commands)
    return parser


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return _FAILED


def _write(text: str) -> None:
    """Write to standard output and flush; a closed pipe, such as that of `head`, is no error."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        # At its end Python flushes stdout again, and would print the error.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    entry()
