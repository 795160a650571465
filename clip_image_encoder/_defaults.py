"""What is taken where a caller names nothing."""

from __future__ import annotations

from typing import Final

__all__ = ["DEFAULT_MODEL"]

DEFAULT_MODEL: Final = "openai/clip-vit-base-patch32"
"""Hub id of the checkpoint that an encoder loads."""
