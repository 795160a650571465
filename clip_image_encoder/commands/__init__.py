"""Commands of the command line, `clip-image-encoder COMMAND ...`: one file for each.

A command's file has a function that adds the command to the parser, and one that runs it: this returns an `Answer`, or
raises an EncoderError or OSError. `__main__` prints the answer or the error, and sets the exit status. To add a
command, add a file and a line in `ADD_COMMANDS`. Files import what they need when their command runs, so that
`--help` is fast.
"""

from __future__ import annotations

from clip_image_encoder.commands._command import Answer
from clip_image_encoder.commands.duplicates import add_duplicates
from clip_image_encoder.commands.encode import add_encode
from clip_image_encoder.commands.export import add_export
from clip_image_encoder.commands.info import add_info
from clip_image_encoder.commands.measure import add_measure
from clip_image_encoder.commands.search import add_search
from clip_image_encoder.commands.serve import add_serve

__all__ = ["ADD_COMMANDS", "Answer"]

ADD_COMMANDS = {
    "encode": add_encode,
    "search": add_search,
    "duplicates": add_duplicates,
    "serve": add_serve,
    "export": add_export,
    "info": add_info,
    "measure": add_measure,
}
"""Functions that add a command to the parser, by its name, in the order of `--help`."""
