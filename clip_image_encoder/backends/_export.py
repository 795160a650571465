"""A vision tower as an ONNX file, by torch's exporter."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clip_image_encoder.arrays import Pixels
from clip_image_encoder.backends._graph import Graph
from clip_image_encoder.backends._vision_towers import VisionTower, check_image_size, load_vision_tower
from clip_image_encoder.protocols import Output

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
        ConfigurationError: the tower doesn't take pixels of this size.
        CheckpointError: the weights are missing, damaged or of another model.
    """
    height, width = check_image_size(graph.checkpoint, graph.image_size)
    tower = load_vision_tower(graph.checkpoint, torch.float32, "cpu")
    prepare = _Normalise(graph.mean, graph.std) if graph.pixels == "uint8" else nn.Identity()
    module = _Prepared(prepare, tower, graph.output).eval()
    generator = np.random.default_rng(0)
    example: Pixels = generator.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    if graph.pixels == "float32":
        example = generator.normal(size=(3, 3, height, width)).astype(np.float32)
    pixels = torch.from_numpy(example)
    with torch.inference_mode(), _quiet():
        expected: NDArray[np.float32] = module(pixels).numpy()
        program = torch.onnx.export(
            module,
            (pixels,),
            dynamo=True,
            opset_version=_OPSET,
            input_names=["pixels"],
            output_names=["features"],
            dynamic_shapes=({0: torch.export.Dim("n")},),
            external_data=True,
            verbose=False,
        )
        assert program is not None
        program.save(file, external_data=True)
    return example, expected


class _Normalise(nn.Module):
    """uint8 `(n, H, W, 3)` to normalised float32 `(n, 3, H, W)`."""

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.scale = nn.Buffer(torch.tensor([1 / (255 * each) for each in std]))
        self.shift = nn.Buffer(torch.tensor([-middle / each for middle, each in zip(mean, std, strict=True)]))

    def forward(self, pixels: Tensor) -> Tensor:
        return (pixels.to(torch.float32) * self.scale + self.shift).permute(0, 3, 1, 2)


class _Prepared(nn.Module):
    """A tower, and what comes before it."""

    def __init__(self, prepare: nn.Module, tower: VisionTower, output: Output) -> None:
        super().__init__()
        self.prepare = prepare
        self.tower = tower
        self.output: Output = output

    def forward(self, pixels: Tensor) -> Tensor:
        features: Tensor = self.tower(self.prepare(pixels), self.output)
        return features


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter from telling about itself; what goes wrong, it raises."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
