"""The preprocessing of CLIP and its relatives: resize, centre crop, uint8 pixels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL.Image import Image, Resampling

from clip_image_encoder._arguments import check_count, check_size
from clip_image_encoder.arrays import PixelFormat, Pixels
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.preprocess._processor_file import CLIP_MEAN, CLIP_STD, read_processor_file

__all__ = ["ClipPreprocess"]

# Past this aspect ratio the resized picture would be mostly thrown away by the crop, and cost
# memory without bound, so that only the part which the crop keeps is resized.
_THIN = 16


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "resize", _check_resize(self.resize))
        object.__setattr__(self, "crop", None if self.crop is None else check_size(self.crop, name="crop"))
        if self.crop is None and not isinstance(self.resize, tuple):
            raise ConfigurationError("without crop=(height, width), resize must be (height, width)")
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
        width, height = self._resized(image)
        if self.crop is None:
            resized = image.resize((width, height), self.resample)
        elif max(width, height) > _THIN * min(width, height):
            resized = self._resize_centre(image, width, height)
        else:
            resized = self._crop_centre(image.resize((width, height), self.resample))
        return np.array(resized, dtype=np.uint8)

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

    def _crop_centre(self, image: Image) -> Image:
        # Rounded down, and outwards where the crop is larger than the image: so does the reference. torchvision's
        # CenterCrop, which open_clip uses, rounds half to even instead: where 3, 7, 11, ... pixels are to go, it
        # starts one later; where the crop is larger, it pads one less on the top and left if the sum is odd.
        height, width = self._size
        left, top = (image.width - width) // 2, (image.height - height) // 2
        return image.crop((left, top, left + width, top + height))

    def _resize_centre(self, image: Image, resized_width: int, resized_height: int) -> Image:
        """Resize only what the centre crop keeps, so that a thin picture costs no more than another.

        The numbers are those of resizing first, but for rounding: single values differ by 1, rarely 2.
        """
        height, width = self._size
        if resized_width < width or resized_height < height:
            return self._crop_centre(image.resize((resized_width, resized_height), self.resample))
        left, top = (resized_width - width) // 2, (resized_height - height) // 2
        across, down = image.width / resized_width, image.height / resized_height
        box = (left * across, top * down, (left + width) * across, (top + height) * down)
        # Pillow's filters reach past the box only inside of the picture, so that first the part
        # they can reach is cut out: the passes over it then cost no more than what is kept.
        reach = 4
        outer = (
            max(0, int(box[0] - reach * max(1, across))),
            max(0, int(box[1] - reach * max(1, down))),
            min(image.width, int(box[2] + reach * max(1, across)) + 1),
            min(image.height, int(box[3] + reach * max(1, down)) + 1),
        )
        inner = (box[0] - outer[0], box[1] - outer[1], box[2] - outer[0], box[3] - outer[1])
        return image.crop(outer).resize((width, height), self.resample, box=inner)


def _check_resize(resize: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
    if isinstance(resize, (tuple, list)):
        return check_size(resize, name="resize")
    return None if resize is None else check_count(resize, name="resize")
