"""uint8 arrays at the model's own size, which loader and preprocess would return unchanged, and which skip both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clip_image_encoder.errors import ImageError
from clip_image_encoder.images import ImageLoader
from clip_image_encoder.preprocess import ClipPreprocess, OpenClipPreprocess

__all__ = ["LeftAlone"]


@dataclass(frozen=True)
class LeftAlone:
    """What a loader and a preprocess leave as it is.

    Attributes:
        shape: Shape `(H, W, 3)` of the uint8 arrays; None if they change all.
    """

    shape: tuple[int, ...] | None

    @classmethod
    def by(cls, loader: ImageLoader, preprocess: object) -> LeftAlone:
        """Find out what is left alone. An image's size alone decides it, so one image of noise shows it.

        Args:
            loader: Loader of any class; a subclass of `ImageLoader` may change all.
            preprocess: Preprocess of any class; other classes than ClipPreprocess and OpenClipPreprocess may
                change all.
        """
        if type(loader) is not ImageLoader or type(preprocess) not in (ClipPreprocess, OpenClipPreprocess):
            return cls(None)
        assert isinstance(preprocess, (ClipPreprocess, OpenClipPreprocess))
        assert preprocess.pixel_format.size is not None
        noise = np.random.default_rng(0).integers(0, 256, (*preprocess.pixel_format.size, 3), dtype=np.uint8)
        try:
            is_left_alone = np.array_equal(preprocess(loader(noise)), noise)
        except ImageError:
            return cls(None)
        return cls(noise.shape if is_left_alone else None)

    def __contains__(self, image: object) -> bool:
        """Tell whether an input is an array of pixels that is left alone."""
        return (
            isinstance(image, np.ndarray)
            and image.shape == self.shape
            and image.dtype == np.uint8
            and not isinstance(image, np.ma.MaskedArray)
        )

    def has_all(self, images: object) -> bool:
        """Tell whether the inputs are an array of images or a list, and all of them are left alone."""
        if isinstance(images, np.ndarray) and images.ndim == 4:
            return all(image in self for image in images[:1])  # the others are like the first
        return isinstance(images, list) and all(image in self for image in images)
