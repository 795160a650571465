"""Vision towers that torch's compiler has compiled, once for all batch sizes."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from clip_image_encoder.models._towers import VisionTower
from clip_image_encoder.protocols import Output

__all__ = ["CompiledTower"]


class CompiledTower(nn.Module):
    """A vision tower that is compiled at its first batch.

    torch compiles once for the first batch size and once more for all others, unless the size is marked as dynamic. It
    always compiles a batch of 1 separately, so that is doubled here.

    Args:
        tower: Vision tower on its device.

    Attributes:
        plain: Tower that is not compiled.
    """

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.plain = tower
        self.dimension = tower.dimension
        self._compiled = torch.compile(tower)

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return the features of pixels `(n, H, W, 3)` in 0..255."""
        batch = pixels if len(pixels) > 1 else torch.cat([pixels, pixels])
        torch._dynamo.mark_dynamic(batch, 0)
        features = cast("Tensor", self._compiled(batch, output))
        return features[: len(pixels)]
