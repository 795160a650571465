"""normalizing-*.svg: the vectors' lengths as the model gives them, and what is left when they are scaled to 1."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from clip_image_encoder import ImageEncoder
from clip_image_encoder.tiny_shapes.draw import draw as draw_scene
from clip_image_encoder.tiny_shapes.draw import random_scenes
from docs.pictures.style import Theme, save
from docs.pictures.subjects import neighbours

_PICTURES = 880


def main() -> None:
    """Encode drawn images without the last step, and draw lengths and directions."""
    pictures = [draw_scene(scene) for scene in random_scenes(_PICTURES, seed=11)]
    raw = ImageEncoder("tiny-shapes", dtype="float32").encode(pictures, normalize=False)
    lengths = np.linalg.norm(raw, axis=1)
    changed = float(np.mean(neighbours(raw, 1) != neighbours(raw / lengths[:, None], 1)))
    print(f"lengths {lengths.min():.1f} to {lengths.max():.1f}; another nearest picture for {changed:.1%}")

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(9, 3.6), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1, 1.6))
        turn = np.linspace(0, 2 * np.pi, 200)
        left.plot(np.cos(turn), np.sin(turn), color=theme.faint, linewidth=1)
        for degrees, length, color in ((20, 1.5, 0), (75, 1.15, 1), (155, 1.35, 2)):
            x, y = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
            left.plot((0, length * x), (0, length * y), ":", color=theme.lines[color])
            left.annotate("", (x, y), (0, 0), arrowprops={"arrowstyle": "-|>", "color": theme.lines[color]})
        left.set(xlim=(-1.6, 1.6), ylim=(-1.1, 1.5), aspect="equal", xticks=[], yticks=[])
        left.spines[:].set_visible(False)
        left.set_title("the direction stays, the length goes")
        right.hist(lengths, bins=40, color=theme.lines[0])
        right.set_title(f"{_PICTURES} drawn pictures, tiny-shapes")
        right.set_xlabel("length before the last step")
        right.set_ylabel("pictures")
        return figure

    save("normalizing", draw, kind="svg")


if __name__ == "__main__":
    main()
