"""One bad item never sinks a batch, nor shifts a row."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.testing import ToyBackend

from .hostile_files import EPS, bmp_claiming, encoded, every_format, gif_claiming, png

ENCODER = ImageEncoder(backend=ToyBackend(), num_workers=3)


def good_items(folder: Path) -> list[Any]:
    files = every_format()
    names = ["AVIF", "BMP", "GIF", "JPEG", "JPEG CMYK", "JPEG2000", "MPO", "PNG", "PNG RGBA", "TIFF", "WEBP"]
    (folder / "good.html").write_bytes(files["JPEG"])  # a name proves nothing
    image = Image.effect_noise((40, 50), 60)
    return [*(files[name] for name in names), folder / "good.html", image, np.asarray(image), png(1, 65_535, bits=1)]


def bad_items(folder: Path) -> list[Any]:
    files = every_format()
    (folder / "cat.jpg").write_bytes(EPS)  # a disguise
    (folder / "page.png").write_text("<!DOCTYPE html><p>404 not found")
    cut = [files[name][: len(files[name]) // 2] for name in ("JPEG", "PNG", "TIFF tiff_lzw", "WEBP", "AVIF")]
    huge = [gif_claiming(65_535, 65_535), bmp_claiming(65_535, 65_535), np.broadcast_to(np.uint8(1), (10**5, 10**5))]
    wrong = [b"", folder / "cat.jpg", folder / "page.png", folder / "missing.png", folder, None, 7, "http://h/a.png"]
    return [
        *cut,
        *huge,
        *wrong,
        np.full((9, 9, 3), np.nan),
        Image.new("I", (9, 9), -5),
        encoded(Image.new("1", (5, 5)), "MSP"),
    ]


@pytest.mark.parametrize("batch_size", [1, 7, 64])
@pytest.mark.parametrize("seed", range(4))
def test_every_good_row_is_that_of_its_solo_run_and_every_bad_one_is_named(
    batch_size: int, seed: int, tmp_path: Path
) -> None:
    good, bad = good_items(tmp_path), bad_items(tmp_path)
    items = [(item, True) for item in good * 3] + [(item, False) for item in bad * 3]
    random.Random(seed).shuffle(items)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        vectors = ENCODER.encode([item for item, _ in items], batch_size=batch_size, on_error="nan")
    assert (~np.isnan(vectors).any(axis=1)).tolist() == [is_good for _, is_good in items]
    for row, (item, is_good) in zip(vectors, items, strict=True):
        if is_good:
            np.testing.assert_allclose(row, ENCODER.encode(item), atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_a_stream_names_each_bad_item_by_its_place(batch_size: int, tmp_path: Path) -> None:
    good, bad = good_items(tmp_path), bad_items(tmp_path)
    items = good + bad
    order = list(range(len(items)))
    random.Random(9).shuffle(order)
    batches = list(ENCODER.stream([items[place] for place in order], batch_size=batch_size))
    failed = [failure.index for batch in batches for failure in batch.failures]
    assert failed == [row for row, place in enumerate(order) if place >= len(good)]
