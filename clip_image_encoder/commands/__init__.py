"""The command line, `clip-image-encoder COMMAND ...`: one file a command.

A command's file adds the command to the parser, and says what it does with the options: it returns an `Answer`, or
raises an error of this package or of the disk. `__main__` prints either and knows the exit status. To add a command,
add a file and a line to `ADD_COMMANDS`. What a command runs is imported when it runs, so that `--help` comes at once.
"""

from __future__ import annotations

from clip_image_encoder.commands._command import Answer
from clip_image_encoder.commands.encode import add_encode
from clip_image_encoder.commands.export import add_export
from clip_image_encoder.commands.info import add_info
from clip_image_encoder.commands.measure import add_measure

__all__ = ["ADD_COMMANDS", "Answer"]

ADD_COMMANDS = {"encode": add_encode, "export": add_export, "info": add_info, "measure": add_measure}
"""What adds each command to the parser, in the order in which `--help` lists them."""
