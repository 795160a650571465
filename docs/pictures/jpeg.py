"""jpeg-*.png: a photo decoded in full and at half its size, and how the model's pixels differ."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import sklearn.datasets
from matplotlib.figure import Figure
from PIL import Image

from clip_image_encoder import ImageEncoder, ImageLoader
from docs.pictures.style import Theme, save, show

_SIZE = 64
_STRONGER = 25
_LARGEST = 8


def main() -> None:
    """Load a photo in both ways, print how they differ, and draw it."""
    content = _photo()
    loaders = (ImageLoader(exact=True), ImageLoader())
    preprocess = ImageEncoder("tiny-shapes", loader=loaders[0]).preprocess
    decoded = [loader(content, model_size=(_SIZE, _SIZE)) for loader in loaders]
    exact, scaled = (np.asarray(preprocess(image), dtype=int) for image in decoded)
    difference = np.abs(exact - scaled)
    shares = np.bincount(difference.reshape(-1), minlength=_LARGEST + 1)[: _LARGEST + 1] / difference.size
    within = shares[:3].sum()
    print(f"mean {difference.mean():.2f}, most {difference.max()}, at most 2: {within:.1%}")

    def draw(theme: Theme) -> Figure:
        figure = Figure(figsize=(9.5, 3.1), layout="constrained")
        first, second, third, bars = figure.subplots(1, 4, width_ratios=(1, 1, 1, 1.5))
        for axes, image, pixels in ((first, decoded[0], exact), (second, decoded[1], scaled)):
            title = f"decoded at {image.width}x{image.height}"
            show(axes, Image.fromarray(pixels.astype(np.uint8)), title=title, below=f"pixels, {_SIZE}x{_SIZE}")
        third.set_facecolor("black")
        stronger = np.minimum(difference * _STRONGER, 255).astype(np.uint8)
        show(third, Image.fromarray(stronger), title="difference", below=f"{_STRONGER} times as strong")
        drawn = bars.bar(range(_LARGEST + 1), 100 * shares, color=theme.lines[0])
        bars.bar_label(drawn, fmt=lambda value: f"{value:.1f}" if value >= 0.05 else "", fontsize=8)
        bars.set(xticks=range(_LARGEST + 1), xlabel="difference, of 255", ylabel="% of values")
        return figure

    save("jpeg", draw, kind="png")


def _photo() -> bytes:
    """A photo of a temple from scikit-learn, its sides cut to multiples of 8, so that JPEG can be scaled."""
    with Image.open(Path(sklearn.datasets.__file__).parent / "images" / "china.jpg") as photo:
        file = BytesIO()
        photo.crop((0, 0, 640, 424)).save(file, "JPEG", quality=90)
    return file.getvalue()


if __name__ == "__main__":
    main()
