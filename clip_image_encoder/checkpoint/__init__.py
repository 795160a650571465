"""From a model's name to a checkpoint: one file a format, and the folder is the registry.

A format's file says by which files it knows a checkpoint, and turns them into the same description, whatever the
format. To add a format, add a file; nothing else has to know. Files whose name starts with an underscore are parts:
where the files lie, and how tensors are read.
"""

from __future__ import annotations

from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder.checkpoint._checkpoint import Checkpoint, open_checkpoint
from clip_image_encoder.checkpoint._tokenizer import CheckpointTokenizer

__all__ = ["DEFAULT_MODEL", "Checkpoint", "CheckpointTokenizer", "open_checkpoint"]
