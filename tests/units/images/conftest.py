"""What the tests of the image contract share: a loader and an image in many forms."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder.images import ImageLoader

Encode: TypeAlias = Callable[..., bytes]


@pytest.fixture(scope="session")
def loader() -> ImageLoader:
    """A loader as it comes."""
    return ImageLoader()


@pytest.fixture(scope="session")
def picture() -> Image.Image:
    """A 31x22 image of random colors, in which no two corners are alike."""
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (22, 31, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def encode() -> Encode:
    """A function from a PIL image and the arguments of `save` to the bytes of a file."""

    def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
        return buffer.getvalue()

    return encode


WaysIn: TypeAlias = Callable[[bytes], dict[str, Any]]


@pytest.fixture
def ways_in(tmp_path: Path) -> Iterator[WaysIn]:
    """A function from a file's bytes to every way in which the file can be passed."""
    with contextlib.ExitStack() as opened:

        def ways_in(data: bytes) -> dict[str, Any]:
            path = tmp_path / "picture"
            path.write_bytes(data)
            loaded = opened.enter_context(Image.open(path))
            loaded.load()
            return {
                "path": str(path),
                "Path": path,
                "bytes": data,
                "file object": io.BytesIO(data),
                "data URI": "data:;base64," + base64.b64encode(data).decode(),
                "array of bytes": np.frombuffer(data, np.uint8),
                "lazy PIL image": opened.enter_context(Image.open(path)),
                "lazy PIL image of bytes": opened.enter_context(Image.open(io.BytesIO(data))),
                "loaded PIL image": loaded,
            }

        yield ways_in
