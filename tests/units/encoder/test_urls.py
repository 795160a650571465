"""URLs among other items: refused unless the loader allows them, and then images like any other."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import (
    ConfigurationError,
    ImageEncoder,
    ImageFetchError,
    ImageLoader,
    ImageTooLargeError,
    UrlPolicy,
)
from clip_image_encoder.testing import ToyBackend
from tests.promises.hostile.hostile_files import EPS
from tests.units.images.url_server import HERE, UrlServer, found, ok

PICTURE = io.BytesIO()
Image.effect_noise((40, 50), 60).save(PICTURE, "PNG")

ENCODER = ImageEncoder(backend=ToyBackend(), loader=ImageLoader(urls=HERE))


def test_without_a_policy_no_url_is_asked_for() -> None:
    with UrlServer({"/cat.png": ok(PICTURE.getvalue())}) as server:
        with pytest.raises(ImageFetchError, match="URLs are not enabled"):
            ImageEncoder(backend=ToyBackend()).encode([server.url("/cat.png")])
        assert server.requests == []


def test_the_default_policy_asks_no_private_host() -> None:
    encoder = ImageEncoder(backend=ToyBackend(), loader=ImageLoader(urls=UrlPolicy()))
    with UrlServer({"/cat.png": ok(PICTURE.getvalue())}) as server:
        with pytest.raises(ImageFetchError, match="not public"):
            encoder.encode([server.url("/cat.png")])
        assert server.requests == []


def test_a_url_gives_the_vector_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(PICTURE.getvalue())
    with UrlServer({"/1": found("/cat.png"), "/cat.png": ok(PICTURE.getvalue())}) as server:
        by_url, by_redirect, by_path = ENCODER.encode([server.url("/cat.png"), server.url("/1"), tmp_path / "cat.png"])
    np.testing.assert_array_equal(by_url, by_path)
    np.testing.assert_array_equal(by_redirect, by_path)


def test_a_url_that_fails_leaves_the_others_alone() -> None:
    scripts = {
        "/cat.png": ok(PICTURE.getvalue()),
        "/cat.jpg": ok(EPS),
        "/page": ok(b"<!DOCTYPE html><p>hello"),
        "/gone": b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
    }
    with UrlServer(dict(scripts)) as server:
        (batch,) = ENCODER.stream(server.url(name) for name in scripts)
    assert [failure.index for failure in batch.failures] == [1, 2, 3]
    reasons = [failure.reason for failure in batch.failures]
    assert [word in reason for word, reason in zip(("EPS", "HTML", "404"), reasons, strict=True)] == [True] * 3


def test_the_loader_limits_what_a_url_may_deliver() -> None:
    encoder = ImageEncoder(backend=ToyBackend(), loader=ImageLoader(urls=HERE, max_bytes=1000))
    with (
        UrlServer({"/cat.png": ok(PICTURE.getvalue())}) as server,
        pytest.raises(ImageTooLargeError, match="max_bytes=1,000"),
    ):
        encoder.encode([server.url("/cat.png")])


def test_a_policy_is_a_policy() -> None:
    with pytest.raises(ConfigurationError, match="urls must be a UrlPolicy"):
        ImageLoader(urls=True)  # type: ignore[arg-type]
