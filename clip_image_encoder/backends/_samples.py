"""What int8 graphs are fitted to where nothing else is given: drawings for vision towers, captions for text towers."""

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
"""The inputs of a graph for one image or text, by their names and in their order."""

_DRAWN = 128
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
    """Return 128 samples, each a batch of one, as a graph takes them.

    Raises:
        CheckpointError: Texts are needed, and the checkpoint's tokenizer is missing or can't be loaded.
    """
    if isinstance(graph, TextGraph):
        return _captions(graph)
    return [{"pixels": row[None]} for row in _drawings(graph)]


def _drawings(graph: VisionGraph) -> Pixels:
    """Return drawings of many colors and textures."""
    height, width = graph.size
    pixels = np.stack([np.asarray(draw(scene)) for scene in random_scenes(_DRAWN, canvas=(width, height))])
    if graph.pixels == "uint8":
        return pixels
    # Whatever normalizes them before they come here, about so.
    normalized = (pixels.transpose(0, 3, 1, 2) / 255 - 0.45) / 0.27
    return normalized.astype(np.float32, order="C")


def _captions(graph: TextGraph) -> list[Inputs]:
    """Return texts of many lengths about what photos show."""
    tokenizer = tokenizer_of(graph.checkpoint, graph.checkpoint.text)
    texts = [prompt.format(thing) for prompt, thing in product(_PROMPTS, _THINGS)]
    return [_named(*tokenizer([text])) for text in texts]


def _named(token_ids: NDArray[Any], mask: NDArray[Any] | None) -> Inputs:
    return {"token_ids": token_ids} if mask is None else {"token_ids": token_ids, "attention_mask": mask}
