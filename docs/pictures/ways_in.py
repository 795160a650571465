"""ways-in-*.png: one image in six kinds of file, as Pillow converts it and as the loader does."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from clip_image_encoder import ImageEncoder, ImageLoader
from clip_image_encoder.tiny_shapes.draw import Scene, silhouette
from clip_image_encoder.tiny_shapes.draw import draw as draw_scene
from docs.pictures.style import Theme, save, show
from docs.pictures.subjects import lying_jpeg

_SCENE = Scene(color="purple", shape="heart", background="white", size=0.75, canvas=(200, 150))


def main() -> None:
    """Write the files, read them in both ways, and compare the vectors with the plain image's."""
    encoder = ImageEncoder("tiny-shapes")
    files = _files()
    plain = encoder.encode([reference for _, reference, _ in files])
    contents = [content for _, _, content in files]
    naive = [Image.open(BytesIO(content)).convert("RGB") for content in contents]
    cosines = [(vectors * plain).sum(axis=1) for vectors in (encoder.encode(naive), encoder.encode(contents))]
    rows = [naive, [ImageLoader()(content) for content in contents]]

    def draw(_: Theme) -> Figure:
        figure = Figure(figsize=(10, 4.3), layout="constrained")
        labels = ["Image.open(file)\n.convert('RGB')", "ImageLoader()(file)"]
        for row, places in enumerate(figure.subplots(2, len(files))):
            for column, axes in enumerate(places):
                title = files[column][0] if row == 0 else ""
                show(axes, rows[row][column], title=title, below=f"cosine {cosines[row][column]:.3f}")
                axes.spines[:].set_visible(True)
            places[0].set_ylabel(labels[row], fontsize=9)
        return figure

    save("ways-in", draw, kind="png")


def _files() -> list[tuple[str, Image.Image, bytes]]:
    """A name, the plain image and the file's content, for each kind of file."""
    picture = draw_scene(_SCENE)
    grey = picture.convert("L")
    # What is transparent has some color, too, which nobody is meant to see.
    hidden = Image.composite(picture, Image.new("RGB", picture.size, "black"), silhouette(_SCENE))
    hidden.putalpha(silhouette(_SCENE))
    palette = hidden.quantize(64)
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    return [
        ("PNG, 8 bits", picture, _content(picture, "PNG")),
        ("JPEG, turned", picture, lying_jpeg(picture.rotate(90, expand=True))),
        ("PNG, transparent", picture, _content(hidden, "PNG")),
        ("palette, transparent", picture, _content(palette, "PNG")),
        ("PNG, 16 bits", grey, _content(deep, "PNG")),
        ("JPEG, CMYK", picture, _content(picture.convert("CMYK"), "JPEG", quality=95)),
    ]


def _content(image: Image.Image, kind: str, **settings: object) -> bytes:
    file = BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


if __name__ == "__main__":
    main()
