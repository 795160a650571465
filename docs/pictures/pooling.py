"""pooling-*.png: the nearest images by the pretrained pooling, and by the mean of the patches."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import ImageOps

from clip_image_encoder import ImageEncoder, MeanPatchesPooling, Pooling, PretrainedPooling, TextEncoder
from clip_image_encoder.tiny_shapes.draw import draw as draw_scene
from clip_image_encoder.tiny_shapes.draw import random_scenes
from docs.pictures.style import Theme, save, show
from docs.pictures.subjects import neighbours
from tests.programs.training.captions import all_captions

_PICTURES = 880
_ASKED = (3, 17, 29, 8)
_NEAREST = 4


def main() -> None:
    """Find neighbours twice, say how often they show the same, and draw some."""
    scenes = list(random_scenes(_PICTURES, seed=11))
    pictures = [draw_scene(scene) for scene in scenes]
    texts = TextEncoder("tiny-shapes").encode(list(all_captions().values()))
    shown = np.array([list(all_captions()).index((scene.color, scene.shape)) for scene in scenes])

    poolings: tuple[Pooling, ...] = (PretrainedPooling(), MeanPatchesPooling())
    nearest = []
    for pooling in poolings:
        vectors = ImageEncoder("tiny-shapes", dtype="float32", pooling=pooling).encode(pictures)
        nearest.append(neighbours(vectors, _NEAREST))
        same = float(np.mean(shown[nearest[-1][:, 0]] == shown))
        named = float(np.mean((vectors @ texts.T).argmax(axis=1) == shown))
        print(f"{pooling}: nearest shows the same {same:.1%}; nearest text is right {named:.1%}")

    def draw(_: Theme) -> Figure:
        figure = Figure(figsize=(9.5, 4.6), layout="constrained")
        parts: Any = figure.subfigures(1, 3, width_ratios=(1, _NEAREST, _NEAREST))
        titles = ["picture", *(type(pooling).__name__ for pooling in poolings)]
        columns = [[[place] for place in _ASKED], *([found[place] for place in _ASKED] for found in nearest)]
        for part, title, rows in zip(parts, titles, columns, strict=True):
            part.suptitle(title, fontsize=11)
            for places, row in zip(part.subplots(len(rows), len(rows[0]), squeeze=False), rows, strict=True):
                for axes, place in zip(places, row, strict=True):
                    show(axes, ImageOps.fit(pictures[place], (100, 100)))
        return figure

    save("pooling", draw, kind="png")


if __name__ == "__main__":
    main()
