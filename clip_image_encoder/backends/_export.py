"""Export a tower to an ONNX file with torch's exporter; called in a process of its own by `run_apart`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.export import Dim

from clip_image_encoder.arrays import PixelFormat, TokenIds
from clip_image_encoder.backends._graph import Graph, TextGraph, VisionGraph
from clip_image_encoder.backends._reference import reference_pixels, reference_tokens
from clip_image_encoder.models._attention import products, use_attention
from clip_image_encoder.models._patches import denormalized, take_bytes
from clip_image_encoder.models._towers import TextTower

__all__ = ["Example", "export"]

_OPSET = 20

Example = tuple[tuple[NDArray[Any], ...], NDArray[np.float32]]
"""Inputs of a graph, and the features that torch computes from them in float32."""


def export(graph: Graph, file: Path) -> list[Example]:
    """Export a tower to an ONNX file, with its weights in a second file beside it.

    Args:
        graph: Description of the graph.
        file: Path of the ONNX file, in an existing folder.

    Returns:
        Examples whose features the graph must reproduce; the first is the known image or text.

    Raises:
        CheckpointError: The weights are missing, damaged or of another model.
    """
    return _export_vision(graph, file) if isinstance(graph, VisionGraph) else _export_text(graph, file)


def _export_vision(graph: VisionGraph, file: Path) -> list[Example]:
    height, width = graph.size
    generator = np.random.default_rng(0)
    pixels: NDArray[Any] = generator.integers(0, 256, (3, height, width, 3), dtype=np.uint8)
    if graph.pixels == "float32":
        pixels = generator.normal(size=(3, 3, height, width)).astype(np.float32)
    module = _Vision(graph).eval()
    known: NDArray[Any] = reference_pixels((height, width))
    if graph.pixels == "float32":
        known = _normalized(known, graph.pixel_format)
    # The examples are computed by the plain tower, which shows that the quick one is equal.
    examples = [_example(module, known), _example(module, pixels)]
    module.tower.become_quick(products)
    _write(module, file, {"pixels": pixels}, [{0: Dim.DYNAMIC}])
    return examples


def _export_text(graph: TextGraph, file: Path) -> list[Example]:
    tower = graph.checkpoint.text.load(graph.checkpoint.weights(torch.float32)).eval()
    longest = graph.checkpoint.text.max_length
    token_ids, mask = reference_tokens(graph.checkpoint)
    if not graph.is_masked:
        full, random = _FullTexts(tower), _token_ids(tower, longest)
        examples = [_example(full, _padded(token_ids, longest)), _example(full, random)]
        tower.become_quick(products)
        _write(full, file, {"token_ids": random}, [{0: Dim.DYNAMIC}])
        return examples
    # The first length is traced; torch.export would take 1 or the full length for a constant.
    lengths = [max(2, longest // 2), longest, 2]
    inputs = [(_token_ids(tower, length), _mask(length)) for length in lengths]
    known = (token_ids, np.ones_like(token_ids) if mask is None else mask)
    examples = [_example(tower, *texts) for texts in (known, *inputs)]
    tower.become_quick(products)
    names = dict(zip(("token_ids", "attention_mask"), inputs[0], strict=True))
    _write(tower, file, names, [{0: Dim.DYNAMIC, 1: Dim.DYNAMIC}] * 2)
    return examples


def _write(module: nn.Module, file: Path, inputs: dict[str, NDArray[Any]], dynamic: Sequence[dict[int, Any]]) -> None:
    use_attention(module, "eager")  # what isn't quick gets two products, too
    with torch.inference_mode():
        program = torch.onnx.export(
            module,
            tuple(map(torch.from_numpy, inputs.values())),
            dynamo=True,
            opset_version=_OPSET,
            input_names=list(inputs),
            output_names=["features"],
            dynamic_shapes=tuple(dynamic),
            external_data=True,
            verbose=False,
        )
    assert program is not None
    program.save(file, external_data=True)


def _example(module: nn.Module, *inputs: NDArray[Any]) -> Example:
    with torch.inference_mode():
        features: NDArray[np.float32] = module(*map(torch.from_numpy, inputs)).numpy()
    return inputs, features


def _token_ids(tower: TextTower, length: int) -> NDArray[np.int64]:
    """Return random token ids `(3, length)` that are in the tower's vocabulary."""
    embedding = next(module for module in tower.modules() if isinstance(module, nn.Embedding))
    return np.random.default_rng(0).integers(0, embedding.num_embeddings, (3, length), dtype=np.int64)


def _normalized(pixels: NDArray[Any], pixel_format: PixelFormat) -> NDArray[np.float32]:
    """Return pixels `(n, 3, H, W)` float32, normalized as by a preprocess of the user, for `(n, H, W, 3)` uint8."""
    scaled = (pixels / 255 - np.array(pixel_format.mean)) / np.array(pixel_format.std)
    normalized: NDArray[np.float32] = scaled.transpose(0, 3, 1, 2).astype(np.float32, order="C")
    return normalized


def _padded(token_ids: TokenIds, length: int) -> TokenIds:
    """Return token ids `(1, n)` padded with 0 to `(1, length)`."""
    return np.pad(token_ids, ((0, 0), (0, length - token_ids.shape[1])))


def _mask(length: int) -> NDArray[np.int64]:
    """Return the mask `(3, length)` of three texts: of the full length, of half of it, and of a single token."""
    return (np.arange(length)[None] < np.array([[length], [-(-length // 2)], [1]])).astype(np.int64)


class _Vision(nn.Module):
    """The vision tower of a graph with the normalization of pixels before it; this module is what is exported."""

    def __init__(self, graph: VisionGraph) -> None:
        super().__init__()
        self.graph = graph
        self.tower = graph.checkpoint.vision.load(graph.checkpoint.weights(torch.float32))
        take_bytes(self.tower, graph.pixel_format)

    def forward(self, pixels: Tensor) -> Tensor:
        if self.graph.pixels == "float32":
            pixels = denormalized(pixels, self.graph.pixel_format)
        features: Tensor = self.tower(pixels, self.graph.output)
        return features


class _FullTexts(nn.Module):
    """A text tower without a mask, for texts that are padded to the full length; this module is what is exported."""

    def __init__(self, tower: TextTower) -> None:
        super().__init__()
        self.tower = tower

    def forward(self, token_ids: Tensor) -> Tensor:
        vectors: Tensor = self.tower(token_ids, None)
        return vectors
