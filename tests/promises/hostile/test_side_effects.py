"""Nothing is left behind or changed, however many inputs are bad and however many threads call."""

from __future__ import annotations

import io
import os
import random
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.testing import ToyBackend

from .hostile_files import EPS, every_format, gif_claiming

ENCODER = ImageEncoder(backend=ToyBackend(), num_workers=2)


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def global_state() -> list[object]:
    return [
        PIL.Image.MAX_IMAGE_PIXELS,
        PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
        PIL.ImageFile.MAXBLOCK,
        list(warnings.filters),
        random.getstate(),
        str(np.random.get_state(legacy=True)),
        np.geterr(),
        os.environ.copy(),
        Path.cwd(),
    ]


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="only Linux lists a process's descriptors there")
def test_ten_thousand_bad_files_leak_no_descriptor_and_no_thread(tmp_path: Path) -> None:
    files = every_format()
    for name in ("JPEG", "PNG", "GIF", "TIFF", "WEBP"):
        (tmp_path / name).write_bytes(files[name][: len(files[name]) // 2])
    (tmp_path / "eps.jpg").write_bytes(EPS)
    (tmp_path / "bomb.gif").write_bytes(gif_claiming(65_535, 65_535))
    bad: list[Any] = [*tmp_path.iterdir(), tmp_path / "missing", tmp_path, b"", b"no image"]
    list(ENCODER.stream(bad))
    descriptors, threads = open_descriptors(), threading.active_count()
    failed: list[int] = []
    failed.extend(len(batch.failures) for batch in ENCODER.stream(bad[count % len(bad)] for count in range(10_000)))
    assert sum(failed) == 10_000
    assert (open_descriptors(), threading.active_count()) == (descriptors, threads)


def test_global_state_is_the_same_after_eight_threads() -> None:
    files = list(every_format().values())
    before = global_state()

    def call(seed: int) -> None:
        items: list[Any] = random.Random(seed).sample(files, 20)
        for batch in ENCODER.stream([*items, b"", "missing.png", np.zeros((9, 9), np.uint8)], batch_size=5):
            assert len(batch.embeddings) in (5, 3)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of some files; a filter set before the threads is no change
        inside = list(warnings.filters)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(call, range(24)))
        assert list(warnings.filters) == inside
    assert global_state() == before


def test_the_callers_objects_are_as_they_were_and_open() -> None:
    data = every_format()["PNG"]
    image, array, buffer = Image.open(io.BytesIO(data)), np.arange(12, dtype=np.uint8).reshape(2, 6), io.BytesIO(data)
    image.load()
    image.info["note"] = "mine"
    buffer.seek(5)
    array.flags.writeable = False
    before = (image.tobytes(), dict(image.info), image.mode, image.size, array.copy())

    def call(_: int) -> None:
        ENCODER.encode([image, array, buffer] * 4, batch_size=3)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(call, range(16)))
    assert (image.tobytes(), dict(image.info), image.mode, image.size) == before[:4]
    np.testing.assert_array_equal(array, before[4])
    assert (buffer.tell(), buffer.closed) == (5, False)
