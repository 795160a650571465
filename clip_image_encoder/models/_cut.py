"""Images cut into patches while their pixels are bytes; torch is not imported for it.

    pixels (H, W, 3), size 2                  patches (rows * columns, 2 * 2 * 3)

    a b | c d       each letter is the        a b e f
    e f | g h       three colors of a         c d g h
    ----+----       pixel             ─cut─▶  i j m n
    i j | k l                                 k l o p
    m n | o p

The last axis has the order (row, column, color) within a patch. A convolution's weights have another one, which
`_patches.PatchEmbedding` permutes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["cut", "cut_to_image"]


def cut(pixels: Tensor, size: int) -> Tensor:
    """Return the patches `(n, rows * columns, size * size * 3)` of pixels `(n, H, W, 3)`.

    Pixels beyond the last whole patch are left out, as a convolution leaves them out.

    Args:
        pixels: Pixels `(n, H, W, 3)` of any dtype.
        size: Side of a patch in pixels.

    Example:
        >>> import torch
        >>> from clip_image_encoder.models import cut
        >>> cut(torch.zeros(2, 32, 32, 3, dtype=torch.uint8), 8).shape
        torch.Size([2, 16, 192])
    """
    count, height, width, channels = pixels.shape
    rows, columns = height // size, width // size
    whole = pixels[:, : rows * size, : columns * size]
    # A row of a patch stays in one piece, which OpenVINO copies in a fifth of the time of its single values.
    grid = whole.reshape(count, rows, size, columns, size * channels).permute(0, 1, 3, 2, 4)
    return grid.reshape(count, rows * columns, size * size * channels)


def cut_to_image(pixels: Tensor, size: int) -> Tensor:
    """Return the patches of images in the shape of images, `(n, 3, H, W)`, as input for a model of transformers.

    The model checks the shape before its patch embedding, which the backend has replaced by one that reads these
    values as patches again. So images are cut while a value is one byte, not when it is a float of four. The values
    are those of `cut`, one patch after the other, and then zeros for pixels that are in no whole patch.

    Args:
        pixels: Pixels `(n, H, W, 3)` of any dtype.
        size: Side of a patch in pixels.

    Example:
        >>> import torch
        >>> from clip_image_encoder.models import cut_to_image
        >>> cut_to_image(torch.zeros(2, 32, 32, 3, dtype=torch.uint8), 8).shape
        torch.Size([2, 3, 32, 32])
    """
    count, height, width, channels = pixels.shape
    values = cut(pixels, size).flatten(1)  # (n, rows * columns * size * size * 3)
    left_out = channels * height * width - values.shape[1]
    if left_out:
        from torch.nn import functional

        values = functional.pad(values, (0, left_out))
    return values.reshape(count, channels, height, width)
