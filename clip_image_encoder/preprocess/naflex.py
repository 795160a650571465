"""The preprocessing of SigLIP 2 "NaFlex", in which an image keeps its aspect ratio within a number of patches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL.Image import Image, Resampling

from clip_image_encoder._arguments import check_count, check_flag
from clip_image_encoder.arrays import PixelFormat, Pixels
from clip_image_encoder.preprocess._crop import pixels_of_box
from clip_image_encoder.preprocess.clip import ClipPreprocess

__all__ = ["NaflexPreprocess"]

# Bounds and precision of the search for a scale, from transformers' `get_image_size_for_max_num_patches`.
_SMALLEST, _LARGEST, _PRECISION = 1e-6, 100.0, 1e-5


@dataclass(frozen=True, kw_only=True)
class NaflexPreprocess:
    """Resizes an RGB image to at most as many patches as a model reads, nearly without changing its aspect ratio.

    The pixels equal those of transformers' `Siglip2ImageProcessorPil`: both sides are multiples of a patch, and small
    images are scaled up, at most a hundredfold. With 256 patches of 16 pixels, a 4:3 image becomes 224 x 288.

    Args:
        patch_size: Length of the side of a patch, in pixels.
        max_num_patches: Largest number of patches of an image.
        resample: Filter of Pillow that resizes the image.
        mean: Mean of each channel, for pixels in 0..1.
        std: Standard deviation of each channel, for pixels in 0..1.
        exact: Whether Pillow itself resizes images. If not, images of at least twice the size of the pixels are
            resized in less than half of the time, and some of their values differ by 1 of 255.

    Raises:
        ConfigurationError: A number is not positive, or a mean is not finite.

    Example:
        >>> from PIL import Image
        >>> NaflexPreprocess()(Image.new("RGB", (640, 480), "teal")).shape
        (224, 288, 3)
    """

    patch_size: int = 16
    max_num_patches: int = 256
    resample: Resampling = Resampling.BILINEAR
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.5, 0.5, 0.5)
    exact: bool = field(default=True, metadata={"fingerprint_omits": True})

    def __post_init__(self) -> None:
        for name in ("patch_size", "max_num_patches"):
            object.__setattr__(self, name, check_count(getattr(self, name), name=name))
        check_flag(self.exact, name="exact")
        object.__setattr__(self, "mean", self.pixel_format.mean)
        object.__setattr__(self, "std", self.pixel_format.std)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> NaflexPreprocess:
        """Make the preprocess that a checkpoint's `preprocessor_config.json` describes.

        Args:
            config: Parsed file of a `Siglip2ImageProcessor`.

        Raises:
            ConfigurationError: The file asks for a step that this class does not know.
        """
        squashed = ClipPreprocess.from_config(config)
        numbers = {name: config[name] for name in ("patch_size", "max_num_patches") if config.get(name) is not None}
        return cls(
            **numbers,
            resample=squashed.resample,
            mean=squashed.mean,
            std=squashed.std,
        )

    @property
    def pixel_format(self) -> PixelFormat:
        """Mean and std by which the backend normalizes the pixels; the size is None, since sizes of images differ."""
        return PixelFormat(size=None, mean=self.mean, std=self.std)

    def __call__(self, image: Image, /) -> Pixels:
        """Return the pixels of an image, `(height, width, 3)` uint8, with height and width multiples of a patch.

        Args:
            image: Upright RGB image of any size; it is not changed.
        """
        height, width = self._size(image.height, image.width)
        return pixels_of_box(image, (width, height), (0, 0), (width, height), self.resample, exact=self.exact)

    def _size(self, height: int, width: int) -> tuple[int, int]:
        """Return `(height, width)` at the largest scale with few enough patches, by the reference's bisection."""
        low, high = _SMALLEST, _LARGEST
        while high - low >= _PRECISION:
            middle = (low + high) / 2
            if self._patches(height, middle) * self._patches(width, middle) <= self.max_num_patches:
                low = middle
            else:
                high = middle
        return self._patches(height, low) * self.patch_size, self._patches(width, low) * self.patch_size

    def _patches(self, side: int, scale: float) -> int:
        """Return the number of patches that cover a scaled side; the last patch may be covered in part."""
        return max(1, math.ceil(side * scale / self.patch_size))
