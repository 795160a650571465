"""SigLIP 2's embeddings of images that all have the same grid of patches."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

__all__ = ["GridEmbeddings"]


class GridEmbeddings(nn.Module):
    """Patches and their positions, resized once for all images of a batch.

    transformers resizes the positions for each image by itself, in a loop or with checks that can't be exported.

    Args:
        embeddings: Those of transformers, with their weights.
    """

    def __init__(self, embeddings: Any) -> None:
        super().__init__()
        self.patch_embedding: nn.Module = embeddings.patch_embedding
        self.position_embedding: nn.Embedding = embeddings.position_embedding

    def forward(self, patches: Tensor, grid: tuple[int, int]) -> Tensor:
        """Return `(n, patches, d)` for `(n, patches, values)` in `grid` rows and columns."""
        positions = self.position_embedding.weight
        side = int(len(positions) ** 0.5)
        if grid != (side, side):
            square = positions.float().reshape(1, side, side, -1).permute(0, 3, 1, 2)
            resized = nn.functional.interpolate(square, grid, mode="bilinear", align_corners=False, antialias=True)
            positions = resized.flatten(2)[0].T.to(positions.dtype)
        embedded: Tensor = self.patch_embedding(patches) + positions
        return embedded
