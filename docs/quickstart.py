"""Search images by words: a drawn gallery, or any folder of photos.

python docs/quickstart.py
python docs/quickstart.py FOLDER "a query" "another query" --model openai/clip-vit-base-patch32
"""

import argparse
from itertools import product
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from clip_image_encoder import ImageEncoder, ImageLoader, TextEncoder
from clip_image_encoder.tiny_shapes.draw import COLORS, SHAPES, draw, random_scene

SUFFIXES = {".avif", ".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}
QUERIES = ["a red circle", "a photo of a yellow star", "a blue heart"]
SIDE, MARGIN = 160, 12


def search(
    photos: list[Path], queries: list[str], model: str = "tiny-shapes"
) -> tuple[np.ndarray, list[list[tuple[float, Path]]]]:
    """Return the photos' vectors, and for each query its five best photos with their scores."""
    vectors = ImageEncoder(model).encode(photos, on_error="nan")
    scores = TextEncoder(model).encode(queries) @ vectors.T
    # The score of a photo that can't be read is NaN, and sorts last.
    return vectors, [
        [(float(row[place]), photos[place]) for place in np.argsort(-row)[:5] if np.isfinite(row[place])]
        for row in scores
    ]


def draw_gallery(folder: Path) -> Path:
    """Draw images of colored shapes into a folder: two for each pair of color and shape."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(7)
    for number, (color, shape) in enumerate(2 * list(product(COLORS, SHAPES))):
        scene = random_scene(generator, color=color, shape=shape)
        draw(scene).save(folder / f"{number:03d}-{color}-{shape}.png")
    return folder


def draw_contact_sheet(queries: list[str], results: list[list[tuple[float, Path]]]) -> Image.Image:
    """Draw each query above its best photos."""
    load, large, small = ImageLoader(), ImageFont.load_default(20), ImageFont.load_default(14)
    row_height = SIDE + 70
    width = MARGIN + max(map(len, results)) * (SIDE + MARGIN)
    sheet = Image.new("RGB", (width, len(queries) * row_height + MARGIN), "white")
    pen = ImageDraw.Draw(sheet)
    for row, (query, best) in enumerate(zip(queries, results, strict=True)):
        top = MARGIN + row * row_height
        pen.text((MARGIN, top), query, fill="black", font=large)
        for column, (score, photo) in enumerate(best):
            left = MARGIN + column * (SIDE + MARGIN)
            thumbnail = load(photo, model_size=(SIDE, SIDE))
            thumbnail.thumbnail((SIDE, SIDE))
            sheet.paste(thumbnail, (left + (SIDE - thumbnail.width) // 2, top + 30 + (SIDE - thumbnail.height) // 2))
            pen.text((left, top + 34 + SIDE), f"{score:.3f}", fill="dimgrey", font=small)
    return sheet


def main() -> None:
    """Answer the queries on the command line, in the terminal and as an image."""
    parser = argparse.ArgumentParser(description="Search images by words.")
    parser.add_argument("folder", nargs="?", type=Path, help="of photos; a gallery of shapes is drawn without it")
    parser.add_argument("queries", nargs="*", metavar="query", help="what to look for")
    parser.add_argument("--model", default="tiny-shapes", help="a hub id or a folder (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("quickstart"), help="folder to save in (default: %(default)s)"
    )
    arguments = parser.parse_intermixed_args()

    folder = arguments.folder or draw_gallery(arguments.output / "gallery")
    queries = arguments.queries or QUERIES
    photos = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not photos:
        parser.error(f"no photos in {folder}")
    vectors, results = search(photos, queries, arguments.model)

    print(f"{len(photos)} images in {folder} -> {vectors.dtype} {vectors.shape}")
    for query, best in zip(queries, results, strict=True):
        print(f"\n{query}")
        for score, photo in best:
            print(f"  {score:6.3f}  {photo.relative_to(folder)}")

    arguments.output.mkdir(parents=True, exist_ok=True)
    np.save(arguments.output / "embeddings.npy", vectors)
    draw_contact_sheet(queries, results).save(arguments.output / "contact_sheet.png")
    print(f"\nsaved {arguments.output / 'embeddings.npy'} and {arguments.output / 'contact_sheet.png'}")


if __name__ == "__main__":
    main()
