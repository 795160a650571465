"""pipeline-*.png: what an image is after each component, from a sideways file to a unit vector."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.tiny_shapes.draw import Scene
from clip_image_encoder.tiny_shapes.draw import draw as draw_scene
from docs.pictures.style import Theme, save, show
from docs.pictures.subjects import lying_jpeg

_SCENE = Scene(color="red", shape="heart", background=None, size=0.7, canvas=(300, 220), seed=21)
_STEPS = ["loader", "pre-\nprocess", "backend", "pooling,\nlength 1"]


def main() -> None:
    """Take one image through the components of an encoder, by hand, and draw what comes out of each."""
    encoder = ImageEncoder("tiny-shapes", device="cpu")
    stored = draw_scene(_SCENE).rotate(90, expand=True)
    content = lying_jpeg(stored)

    upright = encoder.loader(content)
    assert callable(encoder.preprocess)
    pixels = encoder.preprocess(upright)
    tokens = encoder.backend(pixels[None], output="tokens", device="cpu")[0]
    vector = encoder.encode(content)

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(9.6, 3.1))
        places = [figure.add_axes((0.02 + 0.206 * column, 0.22, 0.122, 0.6)) for column in range(5)]
        show(places[0], stored, title="a file", below="sideways, with a note\nin its EXIF data")
        show(places[1], upright, title="upright RGB", below="8 bits, nothing\ntransparent")
        show(places[2], Image.fromarray(pixels), title="pixels", below=f"{pixels.shape} uint8")
        places[3].imshow(_as_colors(tokens[encoder.backend.prefix_tokens :]))
        places[3].set(xticks=[], yticks=[])
        places[3].set_title("features", fontsize=11)
        places[3].set_xlabel(f"{tokens.shape} float32:\none for each patch,\nand one for all", fontsize=10)
        places[4].bar(range(len(vector)), vector, color=theme.lines[0], width=1)
        places[4].set(xticks=[], yticks=[])
        places[4].set_title("a unit vector", fontsize=11)
        places[4].set_xlabel(f"{vector.shape} float32", fontsize=10)
        for column, name in enumerate(_STEPS):
            left = 0.152 + 0.206 * column
            arrow = FancyArrowPatch((left, 0.5), (left + 0.06, 0.5), arrowstyle="-|>", mutation_scale=16)
            arrow.set(transform=figure.transFigure, color=theme.lines[1])
            figure.add_artist(arrow)
            figure.text(left + 0.03, 0.56, name, ha="center", color=theme.lines[1], fontsize=10)
        return figure

    save("pipeline", draw, kind="png")


def _as_colors(patches: NDArray[np.float32]) -> NDArray[np.float32]:
    """Show patch tokens `(patches, d)` as a square of colors: like tokens, like colors."""
    centred = patches - patches.mean(axis=0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    strongest = centred @ directions[:3].T
    low, high = strongest.min(axis=0), strongest.max(axis=0)
    side = round(len(patches) ** 0.5)
    colors: NDArray[np.float32] = ((strongest - low) / (high - low)).reshape(side, side, 3)
    return colors


if __name__ == "__main__":
    main()
