"""Resizing of an image, of which only a box is kept, at a cost that its aspect ratio does not change."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image, Resampling

from clip_image_encoder.preprocess._quick_resize import can_resize_quickly, resize_quickly

__all__ = ["pixels_of_box"]

# Aspect ratio beyond which only the part that the crop keeps is resized: the whole resized image would need memory
# without bound, and most of it would be cut off.
_THIN = 16

# Pixels of the resized image that a filter of Pillow reaches beyond the box, at most; Lanczos, the widest, reaches 3.
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

    Exact pixels equal those of Pillow's `resize` and then `crop`. Where the long side of an image is more than 16 times
    as long as the short side, single values differ by 1, rarely by 2. Pixels that are not exact differ by 1 at most.

    Args:
        image: RGB image; it is not changed.
        resized: `(width, height)` in pixels that the whole image is resized to.
        corner: `(left, top)` of the box in the resized image; parts of the box outside of the image are black.
        size: `(width, height)` of the box in pixels.
        resample: Filter of Pillow that resizes the image.
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
    # Two boxes in the coordinates of the image, which is very wide here:
    #
    #     +--------------------- image ---------------------+
    #     |          +---------- outer ----------+          |
    #     |   left   | read  |  inner   |  read  |   left   |
    #     |   out    | by the|  = box,  |  by the|   out    |
    #     |          | filter|   kept   |  filter|          |
    #     |          +---------------------------+          |
    #     +-------------------------------------------------+
    #
    # `resize(box=inner)` also reads the pixels beside the box that the filter reaches (Pillow's pull request 2254).
    # `outer`, in whole pixels, is cut out first, so that both passes cost no more than what is kept; `inner`, in
    # fractions of pixels, is counted from the corner of `outer`.
    outer = (
        max(0, int(box[0] - _REACH * max(1, across))),
        max(0, int(box[1] - _REACH * max(1, down))),
        min(image.width, int(box[2] + _REACH * max(1, across)) + 1),
        min(image.height, int(box[3] + _REACH * max(1, down)) + 1),
    )
    inner = (box[0] - outer[0], box[1] - outer[1], box[2] - outer[0], box[3] - outer[1])
    return image.crop(outer).resize(size, resample, box=inner)
