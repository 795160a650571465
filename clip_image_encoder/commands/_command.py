"""What the commands share: how one is added to the parser, and what it gives back."""

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
    """What a command says at its end.

    Attributes:
        text: Lines for standard output, without the last line's end.
        status: Exit status, 0 for success.
    """

    text: str
    status: int = 0


def add_command(
    commands: Commands, name: str, *, run: Callable[[argparse.Namespace], Answer], summary: str, details: str
) -> argparse.ArgumentParser:
    """Add a command, and return its parser, for its options.

    Args:
        commands: What the parser of the whole line holds its commands in.
        name: Of the command.
        run: Called with the parsed options.
        summary: A sentence about what the command does.
        details: What stands below the options in `--help`, such as examples; its lines stay as they are.
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
