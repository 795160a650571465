"""Default values that the public functions and the command line share."""

from __future__ import annotations

__all__ = ["DEFAULT_MODEL"]

DEFAULT_MODEL = "openai/clip-vit-base-patch32"
"""Hub id of the checkpoint that is loaded if no model is given."""
