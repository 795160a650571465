"""What the tests of the Jina executors share."""

from __future__ import annotations

import io

import numpy as np
import pytest
from docarray import DocList
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder import ImageEncoder
from clip_image_encoder.integrations.jina import ClipDocument
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes


@pytest.fixture(scope="session")
def encoder() -> ImageEncoder:
    """What the executors are to agree with."""
    return ImageEncoder("tiny-shapes", device="cpu")


@pytest.fixture(scope="session")
def pictures() -> list[NDArray[np.uint8]]:
    """Twenty drawings."""
    return [np.asarray(draw(scene)) for scene in random_scenes(20, seed=3)]


@pytest.fixture
def docs(pictures: list[NDArray[np.uint8]]) -> DocList[ClipDocument]:
    """A document for each image."""
    return DocList[ClipDocument]([ClipDocument(tensor=picture) for picture in pictures])


def png(picture: NDArray[np.uint8]) -> bytes:
    """Return the content of a PNG file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()
