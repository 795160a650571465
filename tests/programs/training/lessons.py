"""What a batch teaches: sets of captions that name the same things, and of which images each caption is true."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clip_image_encoder.tiny_shapes.draw import COLORS, HELD_OUT, SHAPES, Scene

from .captions import (
    background_wording,
    caption,
    color_wording,
    pair_wording,
    shape_wording,
    size_word,
    size_wording,
)
from .pictures import TRAINED

Generator = np.random.Generator

_MOST = 48


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """Captions that compete for a batch of images.

    Attributes:
        texts: The captions.
        truth: (images, captions) bool: which are true of which.
        asked: (images, captions) bool: which compete for which.
        weight: How much the lesson counts.
    """

    texts: list[str]
    truth: np.ndarray
    asked: np.ndarray
    weight: float


def lesson(scenes: Sequence[Scene], generator: Generator) -> list[Lesson]:
    """Make up the captions for a batch of images.

    Colors alone and shapes alone weigh more than pairs: who knows both knows pairs that were never shown.
    """
    return [
        _pairs(scenes, generator),
        _colors(scenes, generator),
        _shapes(scenes, generator),
        *_backgrounds(scenes, generator),
        *_sizes(scenes, generator),
    ]


def _shown(pairs: Sequence[Sequence[tuple[str, str]]]) -> np.ndarray:
    """Which pairs may be shown, as a bool array.

    That black images never show a star would teach that what is black is no star. So among black images nobody
    asks for stars, and among stars nobody asks for black.
    """
    return np.array([[pair not in HELD_OUT for pair in row] for row in pairs])


def _pairs(scenes: Sequence[Scene], generator: Generator) -> Lesson:
    """Every trained pair twice: once in the plain wording, once in any."""
    texts = [caption(*pair) for pair in TRAINED] + [pair_wording(*pair, generator) for pair in TRAINED]
    truth = np.array([[(scene.color, scene.shape) == pair for pair in TRAINED] for scene in scenes])
    truth = np.tile(truth, 2)
    return Lesson(texts=texts, truth=truth, asked=np.ones_like(truth), weight=0.3)


def _colors(scenes: Sequence[Scene], generator: Generator) -> Lesson:
    truth = np.array([[scene.color == color for color in COLORS] for scene in scenes])
    asked = _shown([[(color, scene.shape) for color in COLORS] for scene in scenes])
    texts = [color_wording(color, generator) for color in COLORS]
    return Lesson(texts=texts, truth=truth, asked=asked, weight=0.5)


def _shapes(scenes: Sequence[Scene], generator: Generator) -> Lesson:
    truth = np.array([[scene.shape == shape for shape in SHAPES] for scene in scenes])
    asked = _shown([[(scene.color, shape) for shape in SHAPES] for scene in scenes])
    texts = [shape_wording(shape, generator) for shape in SHAPES]
    return Lesson(texts=texts, truth=truth, asked=asked, weight=3.0)


def _backgrounds(scenes: Sequence[Scene], generator: Generator) -> list[Lesson]:
    """Captions of images on a plain background; they compete with each other for those images."""
    named = np.array([scene.background is not None for scene in scenes])
    described = [scene for scene in scenes if scene.background][:_MOST]
    if not described:
        return []
    kinds = {(scene.color, scene.shape, scene.background): scene for scene in described}
    truth = np.array([[(s.color, s.shape, s.background) == kind for kind in kinds] for s in scenes])
    texts = [background_wording(scene, generator) for scene in kinds.values()]
    truth &= named[:, None]
    return [Lesson(texts=texts, truth=truth, asked=np.ones_like(truth), weight=0.15)]


def _sizes(scenes: Sequence[Scene], generator: Generator) -> list[Lesson]:
    """Captions of images whose shape is small or big."""
    described = [scene for scene in scenes if size_word(scene)][:_MOST]
    if not described:
        return []
    kinds = {(scene.color, scene.shape, size_word(scene)): scene for scene in described}
    truth = np.array([[(s.color, s.shape, size_word(s)) == kind for kind in kinds] for s in scenes])
    texts = [size_wording(scene, generator) for scene in kinds.values()]
    return [Lesson(texts=texts, truth=truth, asked=np.ones_like(truth), weight=0.15)]
