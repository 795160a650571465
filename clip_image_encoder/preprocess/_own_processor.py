"""Preprocessing by an image processor of transformers, for models whose steps this package does not know."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, new

from clip_image_encoder._messages import first_line, missing_package
from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.errors import ConfigurationError, MissingExtraError, UnsupportedImageError
from clip_image_encoder.models._transformers import own_module
from clip_image_encoder.preprocess._processor_file import CLASS_ENDING, named_class

__all__ = ["OwnProcessor"]

_TRIED = ((96, 64), (64, 96), (160, 32), (32, 32))
"""Width and height of test images, which tell whether the processor returns pixels of one size."""
_THINNEST = 500
"""Largest aspect ratio of an image: memory grows with it where a processor scales by the short side."""


@dataclass(frozen=True, kw_only=True)
class OwnProcessor:
    """Prepares an RGB image with an image processor of transformers, in its version for Pillow.

    The returned pixels are normalized already, so that the backend does not normalize them.

    Args:
        kind: Name of the processor's class, such as "ConvNextImageProcessor".
        settings: Content of the processor's file, as JSON with sorted keys.

    Raises:
        ConfigurationError: transformers has no such class, or the class returns pixels of several sizes.
        ImportError: The class needs a package that is not installed.
    """

    kind: str
    settings: str

    def __post_init__(self) -> None:
        shapes = {self._processed(new("RGB", size)).shape for size in _TRIED}
        if len(shapes) > 1 or any(len(shape) != 3 or shape[0] != 3 for shape in shapes):
            made = ", ".join(map(str, sorted(shapes)))
            raise _refusal(f"{self.kind} makes pixels of the shapes {made}, not of one shape (3, height, width)")

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> OwnProcessor:
        """Make the preprocess that a checkpoint's `preprocessor_config.json` describes.

        Args:
            config: Parsed file, in which `image_processor_type` names the class.

        Raises:
            ConfigurationError: The file needs code of its own or names no class, or the class can't use it.
            MissingExtraError: The class needs a package that is not installed, such as torchvision.
        """
        if config.get("auto_map"):
            raise _refusal("its processor needs code of its own (auto_map), which is never executed")
        kind = CLASS_ENDING.sub("ImageProcessor", str(named_class(config)))
        try:
            return cls(kind=kind, settings=json.dumps(dict(config), sort_keys=True))
        except ConfigurationError:
            raise
        except ImportError as error:
            if (package := missing_package(error)) is None:
                raise _refusal(f"{kind} can't be loaded: {first_line(error)}") from error
            raise MissingExtraError(
                f"preprocessor_config.json: {kind} needs {package}: python -m pip install {package}"
            ) from error
        except Exception as error:  # a processor may raise any exception on a file or on an image
            raise _refusal(f"{kind} makes no pixels of an image: {first_line(error)}") from error

    @property
    def pixel_format(self) -> PixelFormat:
        """Size of the returned pixels, with the mean 0 and std 1 of pixels that are normalized already."""
        height, width = self._size
        return PixelFormat(size=(height, width), mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))

    def __call__(self, image: Image, /) -> NDArray[np.float32]:
        """Return the pixels of an image, `(3, height, width)` float32, normalized.

        Args:
            image: Upright RGB image; it is not changed.

        Raises:
            UnsupportedImageError: One side of the image is more than 500 times as long as the other.
        """
        if max(image.size) > _THINNEST * min(image.size):
            raise UnsupportedImageError(
                f"one side is more than {_THINNEST} times as long as the other, and {self.kind} may scale both by the "
                "short one; crop the image, or pass preprocess= instead",
                source=f"image of {image.width} x {image.height} pixels",
            )
        return self._processed(image)

    def __getstate__(self) -> dict[str, str]:
        return {"kind": self.kind, "settings": self.settings}

    @cached_property
    def _size(self) -> tuple[int, int]:
        _, height, width = self._processed(new("RGB", _TRIED[0])).shape
        return height, width

    @cached_property
    def _processor(self) -> Any:
        transformers = own_module()
        # transformers 5 has two classes: the one with "Pil" needs no torchvision. transformers 4 has it without "Pil".
        found: Any = getattr(transformers, f"{self.kind}Pil", None) or getattr(transformers, self.kind, None)
        if found is None or not hasattr(found, "from_dict"):
            raise _refusal(f"transformers has no image processor {reprlib.repr(self.kind)}")
        return found.from_dict(json.loads(self.settings))

    def _processed(self, image: Image) -> NDArray[np.float32]:
        # Without input_data_format, transformers 4 takes an image of three rows for one with the channels first.
        processed = self._processor(images=image, return_tensors="np", input_data_format="channels_last")[
            "pixel_values"
        ]
        pixels: NDArray[np.float32] = np.asarray(processed[0], dtype=np.float32)
        return pixels


def _refusal(reason: str) -> ConfigurationError:
    return ConfigurationError(f"preprocessor_config.json: {reason}; pass preprocess= instead")
