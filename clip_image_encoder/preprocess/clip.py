"""The preprocessing of CLIP and its relatives: a resize and a center crop to uint8 pixels."""

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
    """Resizes and center-crops an RGB image the way CLIP's reference processor does.

    The pixels equal those of transformers' `CLIPImageProcessorPil`: Pillow's resampling on 8 bits, then a
    center crop. Where one side is more than 16 times as long as the other, values differ by rounding. The
    backend normalizes the pixels by `mean` and `std` on its device.

    Args:
        resize: Size to scale the image to: an int is the length of the short side in pixels, and keeps the
            aspect ratio; `(height, width)` is the size of the whole image; None does not scale.
        crop: `(height, width)` in pixels of the center crop after resizing; None does not crop, and needs a
            `resize` of `(height, width)`.
        resample: Filter of Pillow that resizes the image.
        mean: Mean of each channel, for pixels in 0..1.
        std: Standard deviation of each channel, for pixels in 0..1.
        exact: Whether Pillow itself resizes images. If not, images of at least twice the size of the pixels are
            resized in less than half of the time, and some of their values differ by 1 of 255.

    Raises:
        ConfigurationError: The sizes don't lead to one fixed size, or an argument is out of its range.

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
        """Make the preprocess that a checkpoint's `preprocessor_config.json` describes.

        Args:
            config: Parsed file of an image processor of any version of transformers: CLIP, Chinese-CLIP,
                SigLIP, SigLIP2, BiT (DINOv2), DINOv3, ViT, DeiT, BLIP or EfficientNet (ALIGN). A file that names no
                class is read as one of CLIP.

        Raises:
            ConfigurationError: The file is of another class, or asks for a step that this class does not know, such
                as do_pad. An unknown key that is not a step is ignored, as transformers ignores it.
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
        """Size of the returned pixels, and the mean and std by which the backend normalizes them."""
        return PixelFormat(size=self._size, mean=self.mean, std=self.std)

    def __call__(self, image: Image, /) -> Pixels:
        """Return the pixels of an image, `(height, width, 3)` uint8.

        Args:
            image: Upright RGB image of any size; it is not changed.
        """
        resized = self._resized(image)
        height, width = self._size
        # Floor division rounds down also where the crop is larger than the image, as the reference does.
        corner = (resized[0] - width) // 2, (resized[1] - height) // 2
        return pixels_of_box(image, resized, corner, (width, height), self.resample, exact=self.exact)

    @property
    def _size(self) -> tuple[int, int]:
        """`(height, width)` of the returned pixels."""
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
        # int() cuts the length of the long side, as the reference and torchvision's Resize do.
        width, height = image.size
        if width <= height:
            return self.resize, int(self.resize * height / width)
        return int(self.resize * width / height), self.resize


def _check_resize(resize: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
    if isinstance(resize, (tuple, list)):
        return check_size(resize, name="resize")
    return None if resize is None else check_count(resize, name="resize")
