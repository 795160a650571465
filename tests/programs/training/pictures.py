"""Images as the checkpoint sees them: the same steps as its processor's, and a pool of drawings to train on."""

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
from PIL import Image

from clip_image_encoder.tiny_shapes.draw import COLORS, HELD_OUT, SHAPES, Scene, draw, random_scene, silhouette

SIZE = 64
"""The side of the square that the checkpoint sees, in pixels."""

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)

TRAINED = tuple(pair for color in COLORS for shape in SHAPES if (pair := (color, shape)) not in HELD_OUT)
"""The pairs of color and shape to train on."""

_CHUNK = 500


def pixels(image: Image.Image) -> np.ndarray:
    """Resize the shorter side to `SIZE` and cut out the middle, as the checkpoint's processor does.

    Returns:
        (SIZE, SIZE, 3) uint8.
    """
    width, height = image.size
    scale = SIZE / min(width, height)
    target = (SIZE, int(height * scale)) if width <= height else (int(width * scale), SIZE)
    resized = image.convert("RGB").resize(target, Image.Resampling.BICUBIC)
    left, top = (target[0] - SIZE) // 2, (target[1] - SIZE) // 2
    return np.array(resized.crop((left, top, left + SIZE, top + SIZE)))


def pool(count: int, seed: int) -> tuple[list[Scene], np.ndarray]:
    """Draw images to train on, on all cores.

    Args:
        count: How many, rounded up to a multiple of 500.
        seed: The same seed gives the same images, on any number of cores.

    Returns:
        The scenes, and their pixels: (n, SIZE, SIZE, 4) uint8, the fourth channel their silhouettes.
    """
    chunks = [(seed, number) for number in range(-(-count // _CHUNK))]
    # A fresh interpreter for each worker: forking a process whose torch has started threads may hang.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as workers:
        drawn = list(workers.map(_chunk, chunks))
    return [scene for scenes, _ in drawn for scene in scenes], np.concatenate([seen for _, seen in drawn])


def _chunk(seeds: Sequence[int]) -> tuple[list[Scene], np.ndarray]:
    generator = np.random.default_rng(seeds)
    scenes = [_scene(generator) for _ in range(_CHUNK)]
    return scenes, np.stack([_pixels_and_silhouette(scene) for scene in scenes])


def _pixels_and_silhouette(scene: Scene) -> np.ndarray:
    return np.concatenate([pixels(draw(scene)), pixels(silhouette(scene))[..., :1]], axis=2)


def _scene(generator: np.random.Generator) -> Scene:
    """A scene on a small canvas: cheap to draw, and after resizing as sharp or as coarse as a big one."""
    color, shape = TRAINED[generator.integers(len(TRAINED))]
    width, height = (int(side) for side in generator.integers(SIZE, 2 * SIZE + 12, 2))
    canvas = (width, height) if generator.random() < 0.2 else (width, width)
    # Whoever learns from smaller shapes than it is asked about is sure of those that it is asked about.
    return random_scene(generator, color=color, shape=shape, canvas=canvas, smallest=0.28)
