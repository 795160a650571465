"""Default samples that int8 graphs are fitted to: drawings for vision towers, captions for text towers."""

from __future__ import annotations

from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder.arrays import Pixels
from clip_image_encoder.backends._graph import Graph, TextGraph, VisionGraph
from clip_image_encoder.checkpoint._tokenizer import tokenizer_of
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes

__all__ = ["Inputs", "samples_of"]

Inputs: TypeAlias = dict[str, NDArray[Any]]
"""The inputs of a graph for one image or text: arrays by their names, in the order of the graph's inputs."""

_DRAWN = 128
"""Number of drawings."""
_PROMPTS = ("a photo of {}", "{}", "a drawing of {} on a white wall, seen from above", "two of them: {}, and more")
_THINGS = (
    *("a red circle", "a dog in the snow", "an old man who reads a newspaper", "the skyline of a city at night"),
    *("a blue car", "three apples on a table", "children playing football", "a mountain lake in autumn", "a cat"),
    *("a plate of noodles with vegetables", "a small boat", "a bride and a groom", "a diagram with arrows"),
    *("a wooden chair", "an airplane above the clouds", "a flower", "a street market", "a guitar", "a white horse"),
    *("a computer screen full of text", "a bridge over a river", "a baby asleep", "green hills", "a bicycle"),
    *("a woman with an umbrella", "a birthday cake with candles", "a church", "a train station", "a handbag"),
    *("the moon", "a soccer stadium filled with people", "a pair of shoes"),
)


def samples_of(graph: Graph) -> list[Inputs]:
    """Return 128 samples for a graph, each a batch of one.

    Raises:
        CheckpointError: The graph is of a text tower, and the tokenizer is missing or can't be loaded.
    """
    if isinstance(graph, TextGraph):
        return _captions(graph)
    return [{"pixels": row[None]} for row in _drawings(graph)]


def _drawings(graph: VisionGraph) -> Pixels:
    """Return drawings of many colors and textures, as `(n, H, W, 3)` uint8 or normalized `(n, 3, H, W)` float32."""
    height, width = graph.size
    pixels = np.stack([np.asarray(draw(scene)) for scene in random_scenes(_DRAWN, canvas=(width, height))])
    if graph.pixels == "uint8":
        return pixels
    # The preprocess that will normalize is not known; these are typical values of mean and standard deviation.
    normalized = (pixels.transpose(0, 3, 1, 2) / 255 - 0.45) / 0.27
    return normalized.astype(np.float32, order="C")


def _captions(graph: TextGraph) -> list[Inputs]:
    """Return the tokens of captions of many lengths, about things that photos show."""
    tokenizer = tokenizer_of(graph.checkpoint, graph.checkpoint.text)
    texts = [prompt.format(thing) for prompt, thing in product(_PROMPTS, _THINGS)]
    return [_named(*tokenizer([text])) for text in texts]


def _named(token_ids: NDArray[Any], mask: NDArray[Any] | None) -> Inputs:
    return {"token_ids": token_ids} if mask is None else {"token_ids": token_ids, "attention_mask": mask}
