"""Parts that the commands share: functions that add one, and options, to the parser, and the class of results."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

__all__ = ["Answer", "Commands", "add_command", "add_load_in", "add_runtime"]

if TYPE_CHECKING:
    Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
else:
    Commands: TypeAlias = object  # argparse has no public name for it, and its class takes no parameters at run time


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Result of a command.

    Attributes:
        text: Lines for standard output, without the last newline.
        status: Exit status, 0 for success.
    """

    text: str
    status: int = 0


def add_command(
    commands: Commands, name: str, *, run: Callable[[argparse.Namespace], Answer], summary: str, details: str
) -> argparse.ArgumentParser:
    """Add a command to the command line's parser, and return the command's own parser.

    Args:
        commands: Subparsers of the command line's parser.
        name: Name of the command.
        run: Function that runs the command, called with the parsed options.
        summary: Sentence that says what the command does.
        details: Text below the options in `--help`, such as examples; its line breaks are kept.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=summary,
        epilog=details,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def add_runtime(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what computes vectors: `--backend`, `--device` and `--dtype`.

    Args:
        parser: Parser of the command.
    """
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


def add_load_in(parser: argparse.ArgumentParser) -> None:
    """Add the option that says where files are decoded: `--load-in`.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "--load-in",
        choices=("threads", "processes"),
        default="threads",
        help="Where files are decoded: processes feed a GPU on a machine with more than eight cores, and a file that "
        "crashes its decoder is only an error there; default: threads.",
    )
