"""A vision tower as an ONNX file, by torch's exporter; to be called in a process of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clip_image_encoder.arrays import Pixels
from clip_image_encoder.backends._graph import Graph
from clip_image_encoder.models._patches import denormalized, take_bytes

__all__ = ["export"]

_OPSET = 20


def export(graph: Graph, file: Path) -> tuple[Pixels, NDArray[np.float32]]:
    """Write a graph, its weights beside it in a second file.

    Args:
        graph: what to write.
        file: where to; its folder exists.

    Returns:
        Pixels, and the features `(3, ...)` that torch computes of them: the graph must give the same.

    Raises:
        CheckpointError: the weights are missing, damaged or of another model.
    """
    height, width = graph.size
    module = _Prepared(graph).eval()
    generator = np.random.default_rng(0)
    example: Pixels = generator.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    if graph.pixels == "float32":
        example = generator.normal(size=(3, 3, height, width)).astype(np.float32)
    pixels = torch.from_numpy(example)
    with torch.inference_mode():
        expected: NDArray[np.float32] = module(pixels).numpy()
        program = torch.onnx.export(
            module,
            (pixels,),
            dynamo=True,
            opset_version=_OPSET,
            input_names=["pixels"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},),
            external_data=True,
            verbose=False,
        )
        assert program is not None
        program.save(file, external_data=True)
    return example, expected


class _Prepared(nn.Module):
    """The tower of a graph, and what comes before it."""

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.tower = graph.checkpoint.vision.load(graph.checkpoint.weights(torch.float32))
        take_bytes(self.tower, graph.pixel_format)

    def forward(self, pixels: Tensor) -> Tensor:
        if self.graph.pixels == "float32":
            pixels = denormalized(pixels, self.graph.pixel_format)
        features: Tensor = self.tower(pixels, self.graph.output)
        return features
