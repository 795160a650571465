"""Parts that the commands share: a function that adds one to the parser, and the class of their results."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

__all__ = ["Answer", "Commands", "add_command"]

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
