"""A resized image, of which a box is kept."""

from __future__ import annotations

from PIL.Image import Image, Resampling

__all__ = ["crop_resized"]

# Past this aspect ratio the resized image would be mostly thrown away by the crop, and cost memory without bound, so
# that only the part which the crop keeps is resized.
_THIN = 16

# Pixels of an image's resized form that a filter of Pillow reaches beyond the box, at most.
_REACH = 4


def crop_resized(
    image: Image, resized: tuple[int, int], corner: tuple[int, int], size: tuple[int, int], resample: Resampling
) -> Image:
    """Return a box of what an image becomes when it is resized.

    The pixels are those of resizing first. Of an image whose long side is more than 16 times its short side they
    differ by rounding: single values by 1, rarely by 2.

    Args:
        image: An RGB image.
        resized: `(width, height)` that the whole image is resized to.
        corner: `(left, top)` of the box in the resized image; what lies outside of it is black.
        size: `(width, height)` of the box.
        resample: Pillow's filter.
    """
    (left, top), (width, height) = corner, size
    is_inside = left >= 0 and top >= 0 and left + width <= resized[0] and top + height <= resized[1]
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
