"""search-*.png: three texts, and the drawn images nearest to each."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import ImageOps

from clip_image_encoder import ImageEncoder, ImageLoader, TextEncoder
from docs.pictures.style import Theme, save, show
from docs.quickstart import draw_gallery

_QUERIES = ["a red circle", "a photo of a yellow star", "a blue heart"]
_SHOWN = 5


def main() -> None:
    """Search the gallery of the quickstart, and draw what was found."""
    with TemporaryDirectory() as folder:
        pictures = sorted(draw_gallery(Path(folder)).iterdir())
        scores = TextEncoder("tiny-shapes").encode(_QUERIES) @ ImageEncoder("tiny-shapes").encode(pictures).T
        found = [[(float(row[place]), pictures[place]) for place in np.argsort(-row)[:_SHOWN]] for row in scores]

        def draw(_: Theme) -> Figure:
            figure = Figure(figsize=(8, 5.6), layout="constrained")
            parts: Any = figure.subfigures(len(_QUERIES), 1)
            for part, query, best in zip(parts, _QUERIES, found, strict=True):
                part.suptitle(f"“{query}”", x=0.01, ha="left", fontsize=13)
                for axes, (score, picture) in zip(part.subplots(1, _SHOWN), best, strict=True):
                    show(axes, ImageOps.fit(ImageLoader()(picture), (160, 160)), below=f"{score:.2f}")
            return figure

        save("search", draw, kind="png")


if __name__ == "__main__":
    main()
