"""The first layer of SigLIP 2 "NaFlex": patches and their positions, for images with the same grid of patches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["GridEmbeddings"]

_MOST_KEPT = 64
"""Number of grids whose positions are kept: a photo collection has a few dozen, each of a megabyte at most."""


class GridEmbeddings(nn.Module):
    """Embeds patches and adds their positions, which are resized once for each grid and kept.

    transformers resizes the positions for each image of a batch, in a loop or with checks that can't be exported.

    Args:
        embeddings: The layer of transformers that this one replaces, with its weights.
    """

    def __init__(self, embeddings: Any) -> None:
        super().__init__()
        self.patch_embedding: nn.Module = embeddings.patch_embedding
        self.position_embedding: nn.Embedding = embeddings.position_embedding
        self._kept: dict[tuple[int, int], Tensor] = {}

    def forward(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return the embedded patches `(n, patches, d)` of patches `(n, patches, values)`.

        Args:
            patches: Values of the patches, row by row.
            grid: Number of rows and of columns.
        """
        embedded: Tensor = self.patch_embedding(patches) + self._positions(grid)
        return embedded

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """Return the positions `(patches, d)` of a grid."""
        if torch.compiler.is_compiling():  # true in an export, too: its tensors have no values that could be kept
            return self._resized(grid)
        positions = self._kept.get(grid)
        if positions is None or positions.device != self.position_embedding.weight.device:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            positions = self._kept[grid] = self._resized(grid)
        return positions

    def _resized(self, grid: tuple[int, int]) -> Tensor:
        positions = self.position_embedding.weight
        side = int(len(positions) ** 0.5)
        if grid == (side, side):
            return positions
        # The permuted tensor has torch's channels-last layout. From a contiguous one, `interpolate` computes wrong
        # positions for a single column (seen in torch 2.13), which are those of transformers 4.
        square = positions.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)  # (1, d, side, side)
        resized = nn.functional.interpolate(square, grid, mode="bilinear", align_corners=False, antialias=True)
        return resized.flatten(2)[0].T.to(positions.dtype)
