"""What the public functions and the command line have in common when nothing is said."""

from __future__ import annotations

__all__ = ["DEFAULT_MODEL"]

DEFAULT_MODEL = "openai/clip-vit-base-patch32"
"""Hub id of the checkpoint that is loaded where no model is named."""
