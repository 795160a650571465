"""What the tests of the image contract share: a loader and a picture in many forms."""

from __future__ import annotations

import io
from collections.abc import Callable
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
    """A 31x22 picture of random colours, in which no two corners are alike."""
    return Image.fromarray(np.random.default_rng(7).integers(0, 256, (22, 31, 3), dtype=np.uint8))


@pytest.fixture(scope="session")
def encode() -> Encode:
    """A function from a PIL image and the arguments of `save` to the bytes of a file."""

    def encode(image: Image.Image, format: str = "PNG", **options: Any) -> bytes:  # noqa: A002
        buffer = io.BytesIO()
        image.save(buffer, format, **options)
        return buffer.getvalue()

    return encode
