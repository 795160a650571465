"""Every way in which a file reaches the loader, and what a test says of what comes out."""

from __future__ import annotations

import base64
import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder.errors import ImageError
from clip_image_encoder.images import ImageLoader
from tests.promises.decoders.rule import Values

LOADER = ImageLoader()


def _path(data: bytes, folder: Path) -> Path:
    path = folder / "picture"
    path.write_bytes(data)
    return path


def _loaded(data: bytes, folder: Path) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


ENCODED: dict[str, Callable[[bytes, Path], Any]] = {
    "path": lambda data, folder: str(_path(data, folder)),
    "Path": _path,
    "bytes": lambda data, folder: data,
    "file object": lambda data, folder: io.BytesIO(data),
    "data URI": lambda data, folder: "data:;base64," + base64.b64encode(data).decode(),
}
"""What the loader itself opens."""

LAZY = ENCODED | {"lazy PIL": lambda data, folder: Image.open(io.BytesIO(data))}
"""And what Pillow has opened, not decoded yet."""

LOADED: dict[str, Callable[[bytes, Path], Any]] = {
    "loaded PIL": _loaded,
    "copied PIL": lambda data, folder: _loaded(data, folder).copy(),
}
"""What Pillow has decoded: where it did so wrongly, nobody can tell in the copy."""


def assert_right(item: Any, right: Values, *, within: int = 1) -> None:
    """Assert that the loader gives these pixels."""
    pixels = np.asarray(LOADER(item))
    assert pixels.shape == right.shape, (
        f"{pixels.shape[1]} x {pixels.shape[0]} pixels, not {right.shape[1]} x {right.shape[0]}"
    )
    apart = np.abs(pixels.astype(int) - right.astype(int))
    y, x = np.unravel_index(apart.max(axis=2).argmax(), apart.shape[:2])
    assert apart.max() <= within, (
        f"at ({x}, {y}) {pixels[y, x].tolist()}, not {right[y, x].tolist()}; mean {apart.mean():.1f}"
    )


def assert_refused(item: Any) -> None:
    """Assert that the loader raises one of its own errors."""
    with pytest.raises(ImageError):
        LOADER(item)


def assert_right_or_refused(item: Any, right: Values, *, within: int = 1) -> None:
    """Assert that no other pixels come out: for what Pillow has decoded before the loader sees it."""
    with contextlib.suppress(ImageError):
        assert_right(item, right, within=within)
