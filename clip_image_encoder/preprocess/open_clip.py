"""open_clip's preprocessing: torchvision's resize and center crop on 8 bits, in one of three modes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

from clip_image_encoder._arguments import check_count, check_flag, check_size
from clip_image_encoder.arrays import PixelFormat, Pixels
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.preprocess._crop import pixels_of_box
from clip_image_encoder.preprocess._processor_file import CLIP_MEAN, CLIP_STD

__all__ = ["OpenClipPreprocess", "ResizeMode"]

ResizeMode = Literal["shortest", "longest", "squash"]
_FILTERS = {"bicubic": Resampling.BICUBIC, "bilinear": Resampling.BILINEAR, "random": Resampling.BICUBIC}


@dataclass(frozen=True, kw_only=True)
class OpenClipPreprocess:
    """Resizes and crops an RGB image the way open_clip's transform for inference does.

    The pixels equal those of open_clip's `image_transform`. It rounds the corner of the crop in another way than
    `ClipPreprocess`, so that in one image of four the crop is shifted by a pixel. The backend normalizes the pixels.

    Args:
        size: `(height, width)` of the returned pixels.
        resize_mode: Way to fit an image into the size: "shortest" scales it until it covers the size, and crops its
            center; "longest" scales it until it fits in, and fills the rest; "squash" scales both sides separately.
        resample: Filter of Pillow that resizes the image.
        fill_color: Value of all channels, 0..255, where "longest" leaves pixels that the image does not cover.
        mean: Mean of each channel, for pixels in 0..1.
        std: Standard deviation of each channel, for pixels in 0..1.
        exact: Whether Pillow itself resizes images. If not, images of at least twice the size of the pixels are
            resized in less than half of the time, and some of their values differ by 1 of 255.

    Raises:
        ConfigurationError: An argument is out of its range.

    Example:
        >>> from PIL import Image
        >>> from clip_image_encoder import OpenClipPreprocess
        >>> OpenClipPreprocess(resize_mode="longest")(Image.new("RGB", (640, 480), "teal")).shape
        (224, 224, 3)
    """

    size: tuple[int, int] = (224, 224)
    resize_mode: ResizeMode = "shortest"
    resample: Resampling = Resampling.BICUBIC
    fill_color: int = 0
    mean: tuple[float, float, float] = CLIP_MEAN
    std: tuple[float, float, float] = CLIP_STD
    exact: bool = field(default=True, metadata={"fingerprint_omits": True})

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", check_size(self.size, name="size"))
        if self.resize_mode not in get_args(ResizeMode):
            wanted = ", ".join(map(repr, get_args(ResizeMode)))
            raise ConfigurationError(f"resize_mode must be one of {wanted}, not {self.resize_mode!r}")
        object.__setattr__(self, "fill_color", check_count(self.fill_color, name="fill_color", least=0, most=255))
        check_flag(self.exact, name="exact")
        object.__setattr__(self, "mean", self.pixel_format.mean)
        object.__setattr__(self, "std", self.pixel_format.std)

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> OpenClipPreprocess:
        """Make the preprocess that the `preprocess_cfg` of an `open_clip_config.json` describes.

        Args:
            config: Parsed settings; unknown keys are ignored, as open_clip ignores them.

        Raises:
            ConfigurationError: open_clip does not know a value.
        """
        values = {key: value for key, value in config.items() if value is not None}
        if values.get("mode", "RGB") != "RGB":
            raise ConfigurationError(f"preprocess_cfg: mode={values['mode']!r} is not RGB; pass preprocess= instead")
        name = values.get("interpolation", "bicubic")
        if name not in _FILTERS:
            raise ConfigurationError(f"preprocess_cfg: interpolation={name!r} is not known; pass preprocess= instead")
        size = values.get("size", 224)
        height, width = (size, size) if isinstance(size, int) else size
        mode = values.get("resize_mode", "shortest")
        # For "shortest" and a size that is not square, open_clip does not pass the filter on, and resizes by bicubic.
        is_passed = height == width or mode != "shortest"
        return cls(
            size=(height, width),
            resize_mode=mode,
            resample=_FILTERS[name] if is_passed else Resampling.BICUBIC,
            fill_color=values.get("fill_color", 0),
            mean=_triple(values.get("mean", CLIP_MEAN)),
            std=_triple(values.get("std", CLIP_STD)),
        )

    @property
    def pixel_format(self) -> PixelFormat:
        """Size of the returned pixels, and the mean and std by which the backend normalizes them."""
        return PixelFormat(size=self.size, mean=self.mean, std=self.std)

    def __call__(self, image: Image, /) -> Pixels:
        """Return the pixels of an image, `(height, width, 3)` uint8.

        Args:
            image: Upright RGB image of any size; it is not changed.
        """
        height, width = self.size
        if self.resize_mode == "longest":
            return self._filled_up(image)
        resized = (width, height) if self.resize_mode == "squash" else self._covering(image)
        corner = round((resized[0] - width) / 2), round((resized[1] - height) / 2)
        return pixels_of_box(image, resized, corner, (width, height), self.resample, exact=self.exact)

    def _covering(self, image: Image) -> tuple[int, int]:
        """Return the width and height at which the image covers the size."""
        height, width = self.size
        if height != width:
            return _scaled(image, min(image.width / width, image.height / height))
        # int() cuts the length of the long side, as torchvision does.
        if image.width <= image.height:
            return width, int(width * image.height / image.width)
        return int(height * image.width / image.height), height

    def _filled_up(self, image: Image) -> NDArray[np.uint8]:
        height, width = self.size
        across, down = _scaled(image, max(image.width / width, image.height / height))
        left, top = (width - across) // 2, (height - down) // 2
        pixels = np.full((height, width, 3), self.fill_color, np.uint8)
        pixels[top : top + down, left : left + across] = pixels_of_box(
            image, (across, down), (0, 0), (across, down), self.resample, exact=self.exact
        )
        return pixels


def _scaled(image: Image, ratio: float) -> tuple[int, int]:
    """Return width and height divided by a number, rounded half to even; at least one pixel."""
    return max(1, round(image.width / ratio)), max(1, round(image.height / ratio))


def _triple(value: Any) -> tuple[float, float, float]:
    """Return the value of each channel; a single number in the file counts for all three."""
    values = value if isinstance(value, (list, tuple)) else [value] * 3
    if len(values) != 3:
        raise ConfigurationError(f"preprocess_cfg: mean and std must be three numbers, not {value!r}")
    red, green, blue = map(float, values)
    return red, green, blue
