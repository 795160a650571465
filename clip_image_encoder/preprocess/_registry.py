"""The choice of the preprocess that a checkpoint was trained with."""

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

    An image processor of transformers whose steps this package does not know runs in transformers itself.

    Args:
        config: Parsed `preprocessor_config.json`, or the settings that another checkpoint format has in its place;
            "image_processor_type" tells which.
        exact: Whether Pillow itself resizes images. If not, some values differ by 1 of 255, and large images take
            less than half of the time. A processor that runs in transformers is always exact.

    Raises:
        ConfigurationError: The settings ask for an unknown step, for code of their own, or for pixels of several
            sizes.
        MissingExtraError: The processor needs a package that is not installed, such as torchvision.

    Example:
        >>> from clip_image_encoder.preprocess import preprocess_of
        >>> type(preprocess_of({"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 256})).__name__
        'NaflexPreprocess'
    """
    made = _described_by(config)
    return made if isinstance(made, OwnProcessor) else replace(made, exact=exact)


def _described_by(config: Mapping[str, Any]) -> ClipPreprocess | NaflexPreprocess | OpenClipPreprocess | OwnProcessor:
    # Only NaFlex names a class of SigLIP 2: checkpoints of SigLIP 2 at fixed sizes name that of SigLIP.
    kind = str(named_class(config))
    if kind.startswith("Siglip2"):
        return NaflexPreprocess.from_config(config)
    if kind == "Exported":
        return taken(config)
    if kind == "OpenClip":
        return OpenClipPreprocess.from_config(config)
    return ClipPreprocess.from_config(config) if is_known(config) else OwnProcessor.from_config(config)
