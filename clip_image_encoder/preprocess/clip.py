"""The preprocessing of CLIP and its relatives: resize, centre crop, uint8 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from PIL.Image import Image, Resampling

from clip_image_encoder._arguments import check_count, check_flag, check_size
from clip_image_encoder.arrays import PixelFormat, Pixels
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.preprocess._crop import pixels_of_box
from clip_image_encoder.preprocess._processor_file import CLIP_MEAN, CLIP_STD, read_processor_file

__all__ = ["ClipPreprocess"]


@dataclass(frozen=True, kw_only=True)
class ClipPreprocess:
    """Resizes and centre-crops an RGB picture the way CLIP's reference processor does.

    For ordinary pictures the pixels are those of transformers' `CLIPImageProcessorPil`, one by one:
    Pillow's resampling on 8 bits, then a centre crop. Normalisation is left to the backend, which
    applies `mean` and `std` on its device.

    Args:
        resize: an int scales the short side to so many pixels and keeps the aspect ratio;
            `(height, width)` scales to exactly that; None leaves the size alone.
        crop: `(height, width)` of the centre crop after resizing; None keeps everything, and then
            `resize` must be `(height, width)`.
        resample: Pillow's filter.
        mean: Mean of each channel, for pixels in 0..1.
        std: Standard deviation of each channel, for pixels in 0..1.
        exact: Whether Pillow itself resizes images. If not, those that are at least twice as large as the pixels are
            resized in less than half of the time, and some of their values differ by 1 of 255.

    Raises:
        ConfigurationError: the sizes don't lead to one fixed size, or an argument is out of its range.

    Example:
        >>> from PIL import Image
        >>> preprocess = ClipPreprocess(resize=224, crop=(224, 224))
        >>> preprocess(Image.new("RGB", (640, 480), "teal")).shape
        (224, 224, 3)
    """

    resize: int | tuple[int, int] | None = 224
    crop: tuple[int, int] | None = (224, 224)
    resample: Resampling = Resampling.BICUBIC
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    exact: bool = field(default=True, metadata={"fingerprint_omits": True})

    def __post_init__(self) -> None:
        object.__setattr__(self, "resize", _check_resize(self.resize))
        object.__setattr__(self, "crop", None if self.crop is None else check_size(self.crop, name="crop"))
        if self.crop is None and not isinstance(self.resize, tuple):
            raise ConfigurationError("without crop=(height, width), resize must be (height, width)")
        check_flag(self.exact, name="exact")
        object.__setattr__(self, "mean", self.pixel_format.mean)
        object.__setattr__(self, "std", self.pixel_format.std)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> ClipPreprocess:
        """Build it from a checkpoint's `preprocessor_config.json`.

        Args:
            config: The parsed file, written by an image processor of transformers of any age: CLIP, Chinese-CLIP,
                SigLIP, SigLIP2, BiT (DINOv2), DINOv3, ViT, DeiT, BLIP or EfficientNet (ALIGN). A file that names no
                class is read as CLIP's.

        Raises:
            ConfigurationError: The file is of another class, or asks for a step that this class does not know, such
                as do_pad. A key that is no step and is not known is ignored, as transformers ignores it.
        """
        try:
            return cls(**read_processor_file(config))
        except ConfigurationError:
            raise
        except (TypeError, ValueError, ArithmeticError) as error:
            raise ConfigurationError(
                f"preprocessor_config.json makes no sense ({error}); pass preprocess= instead"
            ) from error

    @property
    def pixel_format(self) -> PixelFormat:
        """Size of the pixels that it returns, and how the backend normalizes them."""
        return PixelFormat(size=self._size, mean=self.mean, std=self.std)

    def __call__(self, image: Image, /) -> Pixels:
        """Return the picture's pixels, `(height, width, 3)` uint8.

        Args:
            image: an upright RGB picture of any size; it is not changed.
        """
        resized = self._resized(image)
        height, width = self._size
        # Rounded down, and outwards where the crop is larger than the image: so does the reference.
        corner = (resized[0] - width) // 2, (resized[1] - height) // 2
        return pixels_of_box(image, resized, corner, (width, height), self.resample, exact=self.exact)

    @property
    def _size(self) -> tuple[int, int]:
        """`(height, width)` of the pixels."""
        if self.crop is not None:
            return self.crop
        assert isinstance(self.resize, tuple)
        return self.resize

    def _resized(self, image: Image) -> tuple[int, int]:
        """Return the width and height after resizing, before the crop."""
        if self.resize is None:
            return image.size
        if isinstance(self.resize, tuple):
            return self.resize[1], self.resize[0]
        # The long side is cut, not rounded: so does the reference (torchvision's Resize, too).
        width, height = image.size
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize


def _check_resize(resize: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
    if isinstance(resize, (tuple, list)):
        return check_size(resize, name="resize")
    return None if resize is None else check_count(resize, name="resize")
