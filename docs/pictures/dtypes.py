"""dtypes-*.svg: how far vectors in other numbers are from float32's, beside how far images are from each other."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from clip_image_encoder import ImageEncoder
from clip_image_encoder.tiny_shapes.draw import draw as draw_scene
from clip_image_encoder.tiny_shapes.draw import random_scenes
from docs.pictures.style import Theme, save
from docs.pictures.subjects import neighbours

_PICTURES = 880
_TRIED = (("torch", "float16"), ("torch", "bfloat16"), ("openvino", "int8"), ("openvino", "float32"))
_NEIGHBOURS = 10

Vectors = NDArray[np.float32]


def main() -> None:
    """Encode the same images in every type, print the figures of the page, and draw them."""
    pictures = [draw_scene(scene) for scene in random_scenes(_PICTURES, seed=11)]
    exact = ImageEncoder("tiny-shapes", dtype="float32", device="cpu").encode(pictures)
    nearest = neighbours(exact, _NEIGHBOURS)
    to_nearest = _distances(exact, exact[nearest[:, 0]])
    print(f"to the nearest picture: median {np.median(to_nearest):.1e}, least {to_nearest.min():.1e}")
    distances, kept = {}, {}
    for backend, dtype in _TRIED:
        encoder = ImageEncoder("tiny-shapes", backend=backend, dtype=dtype, device="cpu")
        vectors = encoder.encode(pictures)
        name = f"{dtype}, {backend}"
        distances[name] = _distances(exact, vectors)
        found = neighbours(vectors, _NEIGHBOURS)
        first = float(np.mean(found[:, 0] == nearest[:, 0]))
        all_ten = float(np.mean([len({*a} & {*b}) / _NEIGHBOURS for a, b in zip(found, nearest, strict=True)]))
        kept[name] = (first, all_ten)
        worst, middle = distances[name].max(), np.median(distances[name])
        print(f"{name}: 1 - cosine {middle:.1e}, at most {worst:.1e}; first {first:.1%}, ten {all_ten:.1%}")

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(9.5, 4), layout="constrained")
        left, right = figure.subplots(1, 2, width_ratios=(1.7, 1))
        share = np.linspace(0, 1, _PICTURES)
        for (name, values), color in zip(distances.items(), theme.lines, strict=True):
            left.plot(np.sort(np.maximum(values, 1e-15)), share, color=color, linewidth=2, label=name)
        left.plot(np.sort(to_nearest), share, "--", color=theme.faint, linewidth=2, label="to the nearest picture")
        left.set(xscale="log", xlim=(1e-14, 2), xlabel="1 - cosine", ylabel="share of pictures")
        left.set_title("distance from the float32 vector")
        left.grid(visible=True)
        left.legend(fontsize=9, loc="center left", bbox_to_anchor=(0.12, 0.6))
        places = np.arange(len(kept))
        for offset, which, color in ((-0.2, 0, theme.lines[0]), (0.2, 1, theme.lines[2])):
            percent = [100 * shares[which] for shares in kept.values()]
            bars = right.barh(places + offset, percent, 0.36, color=color, label=("nearest", "ten nearest")[which])
            right.bar_label(bars, fmt="%.1f", padding=3, fontsize=9)
        right.set_yticks(places, [name.replace(", ", "\n") for name in kept], fontsize=9)
        right.set(xlim=(80, 104), xticks=(80, 90, 100), xlabel="% (from 80 on)")
        right.invert_yaxis()
        right.set_title("neighbours that stay")
        right.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.18), ncols=2)
        return figure

    save("dtypes", draw, kind="svg")


def _distances(left: Vectors, right: Vectors) -> NDArray[np.float64]:
    """1 - cosine of unit rows; by the difference, since that of two float32 near 1 is all rounding."""
    difference = left.astype(np.float64) - right
    distances: NDArray[np.float64] = (difference**2).sum(axis=1) / 2
    return distances


if __name__ == "__main__":
    main()
