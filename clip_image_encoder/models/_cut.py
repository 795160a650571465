"""Images cut into patches while their pixels are bytes; torch is not imported for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["cut", "cut_to_image"]


def cut(pixels: Tensor, size: int) -> Tensor:
    """Return the patches `(n, rows * columns, size * size * 3)` of pixels `(n, H, W, 3)`.

    Pixels beyond the last whole patch are left out, as by a convolution.

    Example:
        >>> import torch
        >>> from clip_image_encoder.models import cut
        >>> cut(torch.zeros(2, 32, 32, 3, dtype=torch.uint8), 8).shape
        torch.Size([2, 16, 192])
    """
    count, height, width, channels = pixels.shape
    rows, columns = height // size, width // size
    whole = pixels[:, : rows * size, : columns * size]
    grid = whole.reshape(count, rows, size, columns, size, channels).permute(0, 1, 3, 2, 4, 5)
    return grid.reshape(count, rows * columns, size * size * channels)


def cut_to_image(pixels: Tensor, size: int) -> Tensor:
    """Return the values of `cut`, then zeros, in the shape `(n, 3, H, W)`, which transformers checks.

    So they are cut while they are bytes, not when they are four times as large. It is what a patch embedding that is
    a convolution is given.

    Example:
        >>> import torch
        >>> from clip_image_encoder.models import cut_to_image
        >>> cut_to_image(torch.zeros(2, 32, 32, 3, dtype=torch.uint8), 8).shape
        torch.Size([2, 3, 32, 32])
    """
    count, height, width, channels = pixels.shape
    values = cut(pixels, size).flatten(1)
    left_out = channels * height * width - values.shape[1]
    if left_out:
        from torch.nn import functional

        values = functional.pad(values, (0, left_out))
    return values.reshape(count, channels, height, width)
