"""SigLIP 2's embeddings of images that all have the same grid of patches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["GridEmbeddings"]

_MOST_KEPT = 64
"""Grids whose positions are kept: a photo collection has a few dozen, and each takes a megabyte at most."""


class GridEmbeddings(nn.Module):
    """Patches and their positions, resized once for each grid that comes, and kept.

    transformers resizes the positions for each image by itself, in a loop or with checks that can't be exported.

    Args:
        embeddings: Those of transformers, with their weights.
    """

    def __init__(self, embeddings: Any) -> None:
        super().__init__()
        self.patch_embedding: nn.Module = embeddings.patch_embedding
        self.position_embedding: nn.Embedding = embeddings.position_embedding
        self._kept: dict[tuple[int, int], Tensor] = {}

    def forward(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return `(n, patches, d)` for `(n, patches, values)` in `grid` rows and columns."""
        embedded: Tensor = self.patch_embedding(patches) + self._positions(grid)
        return embedded

    def _positions(self, grid: tuple[int, int]) -> Tensor:
        """Return the positions `(patches, d)` of a grid."""
        if torch.compiler.is_compiling():  # as an export is: what it computes with is no tensor to keep
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
        # Channels last: in torch's other layout the positions of a single column are wrong, as transformers 4 has them.
        square = positions.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
        resized = nn.functional.interpolate(square, grid, mode="bilinear", align_corners=False, antialias=True)
        return resized.flatten(2)[0].T.to(positions.dtype)
