"""Which preprocess a checkpoint was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from clip_image_encoder.preprocess._own_processor import OwnProcessor
from clip_image_encoder.preprocess._processor_file import is_known, named_class
from clip_image_encoder.preprocess._stored import taken
from clip_image_encoder.preprocess.clip import ClipPreprocess
from clip_image_encoder.preprocess.naflex import NaflexPreprocess
from clip_image_encoder.preprocess.open_clip import OpenClipPreprocess
from clip_image_encoder.protocols import Preprocess

__all__ = ["preprocess_of"]


def preprocess_of(config: Mapping[str, Any], *, exact: bool = True) -> Preprocess:
    """Return the preprocess that a checkpoint's settings describe.

    A processor of transformers whose steps are not known here is run by transformers itself, and always exact.

    Args:
        config: A parsed `preprocessor_config.json`, or what another format of checkpoints says in its place, which
            "image_processor_type" tells.
        exact: Whether Pillow itself resizes the images, as the field of that name says.

    Raises:
        ConfigurationError: The settings ask for a step that is not known, for code of their own, or for pixels that
            are not of one size.
        MissingExtraError: The processor needs a package that is not installed, such as torchvision.

    Example:
        >>> from clip_image_encoder.preprocess import preprocess_of
        >>> type(preprocess_of({"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 256})).__name__
        'NaflexPreprocess'
    """
    made = _described_by(config)
    return made if isinstance(made, OwnProcessor) else replace(made, exact=exact)


def _described_by(config: Mapping[str, Any]) -> ClipPreprocess | NaflexPreprocess | OpenClipPreprocess | OwnProcessor:
    # SigLIP 2 at fixed sizes names the class of SigLIP.
    kind = str(named_class(config))
    if kind.startswith("Siglip2"):
        return NaflexPreprocess.from_config(config)
    if kind == "Exported":
        return taken(config)
    if kind == "OpenClip":
        return OpenClipPreprocess.from_config(config)
    return ClipPreprocess.from_config(config) if is_known(config) else OwnProcessor.from_config(config)
