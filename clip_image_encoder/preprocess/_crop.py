"""A resized image, of which a box is kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

from clip_image_encoder.preprocess._quick_resize import can_resize_quickly, resize_quickly

__all__ = ["pixels_of_box"]

# Past this aspect ratio the resized image would be mostly thrown away by the crop, and cost memory without bound, so
# that only the part which the crop keeps is resized.
_THIN = 16

# Pixels of an image's resized form that a filter of Pillow reaches beyond the box, at most.
_REACH = 4


def pixels_of_box(
    image: Image,
    resized: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
    resample: Resampling,
    *,
    exact: bool,
) -> NDArray[np.uint8]:
    """Return the pixels `(height, width, 3)` of a box of what an image becomes when it is resized.

    Exact ones are those of Pillow, that resizes first. Of an image whose long side is more than 16 times its short
    side they differ by rounding: single values by 1, rarely by 2. Others differ by 1.

    Args:
        image: An RGB image.
        resized: `(width, height)` that the whole image is resized to.
        corner: `(left, top)` of the box in the resized image; what lies outside of it is black.
        size: `(width, height)` of the box.
        resample: Pillow's filter.
        exact: Whether Pillow itself resizes the image.
    """
    (left, top), (width, height) = corner, size
    is_inside = left >= 0 and top >= 0 and left + width <= resized[0] and top + height <= resized[1]
    if is_inside and not exact and can_resize_quickly(image, resized, resample):
        return resize_quickly(image, resized, corner, size, resample)
    return np.array(_crop_resized(image, resized, corner, size, resample, is_inside=is_inside), dtype=np.uint8)


def _crop_resized(
    image: Image,
    resized: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
    resample: Resampling,
    *,
    is_inside: bool,
) -> Image:
    if size == resized and is_inside:
        return image.resize(size, resample)
    (left, top), (width, height) = corner, size
    if max(resized) <= _THIN * min(resized) or not is_inside:
        whole = image.resize(resized, resample)
        return whole.crop((left, top, left + width, top + height))
    across, down = image.width / resized[0], image.height / resized[1]
    box = (left * across, top * down, (left + width) * across, (top + height) * down)
    # Pillow's filters reach past the box, but not past the image it is given, so that first the part they can reach
    # is cut out: the passes over it then cost no more than what is kept.
    #
    #     +-------------- image --------------+
    #     |      +------- outer -------+      |
    #     |      |   +--- inner ---+   |      |
    #     |      |   |             |   |      |
    outer = (
        max(0, int(box[0] - _REACH * max(1, across))),
        max(0, int(box[1] - _REACH * max(1, down))),
        min(image.width, int(box[2] + _REACH * max(1, across)) + 1),
        min(image.height, int(box[3] + _REACH * max(1, down)) + 1),
    )
    inner = (box[0] - outer[0], box[1] - outer[1], box[2] - outer[0], box[3] - outer[1])
    return image.crop(outer).resize(size, resample, box=inner)
