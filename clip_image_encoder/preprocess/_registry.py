"""Which preprocess a checkpoint was trained with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clip_image_encoder.preprocess._own_processor import OwnProcessor
from clip_image_encoder.preprocess._processor_file import is_known
from clip_image_encoder.preprocess.clip import ClipPreprocess
from clip_image_encoder.preprocess.naflex import NaflexPreprocess
from clip_image_encoder.protocols import Preprocess

__all__ = ["general_preprocess_of", "preprocess_of"]


def preprocess_of(config: Mapping[str, Any]) -> ClipPreprocess | NaflexPreprocess:
    """Return the preprocess that a parsed `preprocessor_config.json` describes.

    Raises:
        ConfigurationError: The file asks for a step that is not known.

    Example:
        >>> from clip_image_encoder.preprocess import preprocess_of
        >>> type(preprocess_of({"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 256})).__name__
        'NaflexPreprocess'
    """
    # SigLIP 2 at fixed sizes names the class of SigLIP.
    kind = str(config.get("image_processor_type") or config.get("feature_extractor_type"))
    return (NaflexPreprocess if kind.startswith("Siglip2") else ClipPreprocess).from_config(config)


def general_preprocess_of(config: Mapping[str, Any]) -> Preprocess:
    """Return the preprocess of a model that runs through its own class of transformers.

    Where the file's class is one whose steps are known here, it is that of any other model; else it is transformers'
    own processor.

    Args:
        config: The parsed `preprocessor_config.json`.

    Raises:
        ConfigurationError: The file asks for something that gives no pixels of one size.
        MissingExtraError: The processor needs a package that is not installed.

    Example:
        >>> from clip_image_encoder.preprocess import general_preprocess_of
        >>> general_preprocess_of({"image_processor_type": "LevitImageProcessor"}).pixel_format.size
        (224, 224)
    """
    return preprocess_of(config) if is_known(config) else OwnProcessor.from_config(config)
