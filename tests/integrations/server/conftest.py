"""Encoders of the server's tests, and a server in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from clip_image_encoder import ImageEncoder, TextEncoder
from tests.integrations.server.server_process import LIMITS, Server, serving


@pytest.fixture(scope="session")
def images() -> ImageEncoder:
    """What the vectors of images must be."""
    return ImageEncoder("tiny-shapes")


@pytest.fixture(scope="session")
def texts() -> TextEncoder:
    """What the vectors of texts must be."""
    return TextEncoder("tiny-shapes")


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server of tiny-shapes, which takes bodies of up to 1,000,000 bytes and refuses what it can't queue."""
    with serving(*LIMITS) as running:
        yield running
