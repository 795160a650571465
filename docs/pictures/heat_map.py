"""heat-map-*.png: the cosine of eight texts with eight images, as colors."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.tiny_shapes.draw import draw as draw_scene
from clip_image_encoder.tiny_shapes.draw import random_scene
from docs.pictures.style import Theme, save, show

_TEXTS = [
    "a red circle",
    "an orange circle",
    "an orange star",
    "a yellow star",
    "a green square",
    "a blue square",
    "a blue heart",
    "a purple heart",
]


def main() -> None:
    """Draw an image for each text, and compare all with all."""
    generator = np.random.default_rng(5)
    pairs = [text.split()[1:] for text in _TEXTS]
    scenes = [random_scene(generator, color=color, shape=shape, canvas=(160, 160)) for color, shape in pairs]
    pictures = [draw_scene(scene) for scene in scenes]
    cosines = TextEncoder("tiny-shapes").encode(_TEXTS) @ ImageEncoder("tiny-shapes").encode(pictures).T

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(8, 6.2), layout="constrained")
        grid = figure.add_gridspec(2, len(pictures), height_ratios=(1, 6.5))
        for column, picture in enumerate(pictures):
            show(figure.add_subplot(grid[0, column]), picture)
        heat = figure.add_subplot(grid[1, :])
        heat.imshow(cosines, cmap=theme.shades, vmin=-0.6, vmax=0.3, aspect="auto")
        heat.set_yticks(range(len(_TEXTS)), _TEXTS)
        heat.set_xticks([])
        heat.spines[:].set_visible(False)
        for (row, column), cosine in np.ndenumerate(cosines):
            dark = (cosine > -0.15) == (theme.name == "light")
            heat.text(column, row, f"{cosine:.2f}", ha="center", va="center", color="white" if dark else "black")
        return figure

    save("heat-map", draw, kind="png")


if __name__ == "__main__":
    main()
