"""Paths of strangers as the terminal shows them: on one line, in its width, and without hidden characters."""

from __future__ import annotations

import os
import sys
import unicodedata

__all__ = ["printable", "row_of", "shortened"]


def row_of(score: float, path: str) -> str:
    """Return the line of a table for an image; in a terminal it is cut to the width, elsewhere it has the whole path.

    Args:
        score: Cosine of the image.
        path: Path of the image, as it is stored.
    """
    width = _terminal_width()
    return f"{score:8.4f}  {shortened(printable(path), None if width is None else width - 10)}"


def printable(text: str) -> str:
    r"""Return a text whose control characters, line breaks and changes of direction are written as escapes.

    Args:
        text: Any text, such as a file's name.

    Example:
        >>> print(printable("a\nb \x1b[31m \u202egpj.exe"))
        a\nb \x1b[31m \u202egpj.exe
    """
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def shortened(text: str, width: int | None) -> str:
    """Return a printable text cut at its start to a number of columns, since the end of a path says most.

    Args:
        text: Text of printable characters, some of which take two columns or none.
        width: Number of columns; None cuts nothing.

    Example:
        >>> shortened("photos/2024/beach.jpg", 12)
        '…4/beach.jpg'
    """
    if width is None or sum(map(_columns, text)) <= width:
        return text
    kept, room = "", width - 1
    for letter in reversed(text):
        room -= _columns(letter)
        if room < 0:
            break
        kept = letter + kept
    return f"…{kept}"


def _terminal_width() -> int | None:
    """Return the number of columns of the terminal that standard output goes to; None for a file or a pipe."""
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except OSError:  # also io.UnsupportedOperation, where standard output is no file
        return None


def _columns(letter: str) -> int:
    if unicodedata.combining(letter):
        return 0
    return 2 if unicodedata.east_asian_width(letter) in "WF" else 1
