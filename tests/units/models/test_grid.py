"""SigLIP 2's positions, resized to the grid of an image, against the sums that a resize is made of."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from clip_image_encoder.models._grid import GridEmbeddings

SIDE, WIDTH = 4, 24


class Embeddings(nn.Module):
    """What transformers' embeddings have."""

    def __init__(self) -> None:
        super().__init__()
        self.patch_embedding = nn.Identity()
        self.position_embedding = nn.Embedding(SIDE * SIDE, WIDTH)


def weights(count: int) -> Tensor:
    """Return how much each of the trained rows or columns counts for each of so many, `(count, SIDE)`."""
    scale = SIDE / count
    centers = (torch.arange(count) + 0.5) * scale - 0.5
    distances = (torch.arange(float(SIDE)) - centers[:, None]).abs() / max(scale, 1)
    triangle = (1 - distances).clamp(min=0)
    return triangle / triangle.sum(dim=1, keepdim=True)


@pytest.mark.parametrize("grid", [(20, 1), (1, 20), (5, 4), (2, 10), (4, 4), (1, 1), (16, 16)], ids=str)
def test_positions_are_resized_with_antialiased_triangles(grid: tuple[int, int]) -> None:
    torch.manual_seed(0)
    embeddings = Embeddings()
    rows, columns = grid
    trained = embeddings.position_embedding.weight.detach().reshape(SIDE, SIDE, WIDTH)
    expected = torch.einsum("rh,cw,hwd->rcd", weights(rows), weights(columns), trained).reshape(1, -1, WIDTH)
    with torch.inference_mode():
        found = GridEmbeddings(embeddings)(torch.zeros(1, rows * columns, WIDTH), grid)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_the_positions_of_a_grid_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    embeddings = GridEmbeddings(Embeddings())
    made: list[tuple[int, int]] = []
    resized = embeddings._resized

    def noted(grid: tuple[int, int]) -> Tensor:
        made.append(grid)
        return resized(grid)

    monkeypatch.setattr(embeddings, "_resized", noted)
    with torch.inference_mode():
        for grid in [(2, 3), (3, 2), (2, 3), (2, 3)]:
            embeddings(torch.zeros(1, 6, WIDTH), grid)
    assert made == [(2, 3), (3, 2)]
