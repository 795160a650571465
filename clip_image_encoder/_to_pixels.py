"""An input becomes pixels by a loader, and then a preprocess, whose result is checked.

```text
input ─loader─▶ upright RGB image ─preprocess─▶ pixels (H, W, 3) uint8 or (3, H, W) float32
```
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL.Image import Image

from clip_image_encoder._computing import check_pixels
from clip_image_encoder._left_alone import LeftAlone
from clip_image_encoder.arrays import Pixels
from clip_image_encoder.errors import ContractError, ImageError
from clip_image_encoder.images import ImageLoader
from clip_image_encoder.protocols import Preprocess

__all__ = ["ToPixels"]


@dataclass(frozen=True, kw_only=True)
class ToPixels:
    """Turns inputs into pixels; several threads may call it.

    Attributes:
        loader: Loader of an encoder.
        preprocess: Preprocess of an encoder.
        size: Size `(height, width)` of the pixels that its backend takes; None allows any size.
        left_alone: Arrays that are pixels already.
    """

    loader: ImageLoader
    preprocess: Preprocess | Callable[[Image], Any]
    size: tuple[int, int] | None
    left_alone: LeftAlone
    _has_pixel_format: bool = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Asked once and not for each image: isinstance() of a protocol looks up its members one by one.
        object.__setattr__(self, "_has_pixel_format", isinstance(self.preprocess, Preprocess))

    def __call__(self, item: object, /) -> Pixels:
        """Return the pixels of an input.

        Raises:
            ImageError: The input can't be loaded.
            ContractError: The preprocess raised another error, or returned what the backend does not take.
        """
        if item in self.left_alone:
            return np.array(item)  # a copy, since the caller may write to the array before it is encoded
        image = self.loader(item, model_size=self.size)
        try:
            pixels = np.asarray(self.preprocess(image))
        except ImageError:
            raise
        except Exception as error:
            raise ContractError(f"{self._name} raised {type(error).__name__}: {error}") from error
        check_pixels(pixels, self.size, name=self._name)
        if pixels.dtype == np.uint8 and not self._has_pixel_format:
            raise ContractError(
                f"{self._name} returned uint8 and has no pixel_format, by which the backend normalizes them; "
                "add one, or return normalized float32"
            )
        return pixels

    @property
    def _name(self) -> str:
        return f"preprocess {getattr(self.preprocess, '__name__', type(self.preprocess).__name__)}"
