"""Checkpoints: finds one by its name on the hub or in a folder, and reads it; one file for each format.

A format's file says by which file it recognizes a checkpoint, and reads the checkpoint into a description that is the
same for all formats. To add a format, add a file to this folder; no list has to be changed. Files whose names start
with an underscore hold what all formats share: access to files and the hub, and reading tensors.
"""

from __future__ import annotations

from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder.checkpoint._checkpoint import Checkpoint, open_checkpoint
from clip_image_encoder.checkpoint._tokenizer import CheckpointTokenizer

__all__ = ["DEFAULT_MODEL", "Checkpoint", "CheckpointTokenizer", "open_checkpoint"]
