"""Checks that a component of your own keeps its protocol, and a backend without a model for tests.

Call a check in your tests, with an instance; it raises AssertionError that says what is wrong.

```python
from clip_image_encoder.testing import check_pooling

def test_my_pooling_keeps_the_contract():
    check_pooling(MyPooling())
```
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from PIL import Image

from clip_image_encoder._arguments import check_count, check_size
from clip_image_encoder.arrays import PixelFormat, Pixels, Tokens, Vectors
from clip_image_encoder.preprocess import ClipPreprocess
from clip_image_encoder.protocols import Backend, Output, Pooling, Preprocess, TextBackend

__all__ = ["ToyBackend", "check_backend", "check_pooling", "check_preprocess", "check_text_backend"]

_SIZES = ((1, 1), (1, 40), (40, 1), (64, 48), (48, 64), (300, 300), (2, 900))


@dataclass(frozen=True, kw_only=True)
class ToyBackend:
    """A backend without a model, for tests: each token is a fixed random projection of a patch's mean color.

    It is fast, deterministic and independent of the batch size, and similar images get similar vectors. It has no
    text tower.

    Args:
        dimension: Length of a vector, 16 by default.
        image_size: Size `(height, width)` of the pixels that the backend takes, `(32, 32)` by default.
        grid: Number of patches along each side of an image, 4 by default.

    Raises:
        ConfigurationError: An argument is out of its range.

    Example:
        >>> from PIL import Image
        >>> from clip_image_encoder import ImageEncoder
        >>> ImageEncoder(backend=ToyBackend(dimension=8)).encode(Image.new("RGB", (32, 32), "red")).shape
        (8,)
    """

    dimension: int = 16
    image_size: tuple[int, int] = (32, 32)
    grid: int = 4

    def __post_init__(self) -> None:
        for name in ("dimension", "grid"):
            object.__setattr__(self, name, check_count(getattr(self, name), name=name))
        object.__setattr__(self, "image_size", check_size(self.image_size, name="image_size"))

    @property
    def devices(self) -> Sequence[str]:
        """Names of the devices: "cpu" only."""
        return ("cpu",)

    @property
    def outputs(self) -> frozenset[Output]:
        """Kinds of features: "pooled" and "tokens"."""
        return frozenset({"pooled", "tokens"})

    @property
    def prefix_tokens(self) -> int:
        """Number of tokens before the patches: 1, the class token."""
        return 1

    @property
    def preprocess(self) -> ClipPreprocess:
        """Preprocess for the backend's image size: it resizes the short side and crops the center."""
        height, width = self.image_size
        return ClipPreprocess(resize=height if height == width else (height, width), crop=(height, width))

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:  # noqa: ARG002
        """Return `(n, d)` or `(n, 1 + grid * grid, d)` float32 for a batch of pixels."""
        if pixels.dtype == np.uint8:
            colors = pixels.astype(np.float64) / 255 - 0.5
        else:
            colors = pixels.astype(np.float64).transpose(0, 2, 3, 1)  # (n, H, W, 3)
        bands = np.array_split(colors, self.grid, axis=1)
        cells = [cell.mean(axis=(1, 2)) for band in bands for cell in np.array_split(band, self.grid, axis=2)]
        # (n, grid * grid, 4): the fourth number is 1, so that a gray image does not become the zero vector.
        patches = np.stack([np.append(cell, np.ones((len(cell), 1)), axis=1) for cell in cells], axis=1)
        weights = np.random.default_rng(0).normal(size=(1 + self.grid**2, 4, self.dimension))
        class_token = np.einsum("npc,pcd->nd", patches, weights[1:])[:, None]
        tokens = np.concatenate([class_token, patches @ weights[0]], axis=1).astype(np.float32)
        return cast("Vectors", np.ascontiguousarray(tokens[:, 0])) if output == "pooled" else tokens


def check_preprocess(preprocess: Preprocess) -> None:
    """Check that a preprocess keeps its protocol, with images of several shapes.

    Args:
        preprocess: Instance to check.

    Raises:
        AssertionError: The protocol is broken; the message says which part of it.
    """
    pixel_format: object = preprocess.pixel_format
    assert isinstance(pixel_format, PixelFormat), f"pixel_format must be a PixelFormat, not {pixel_format!r}"
    for size in _SIZES:
        image = _image(size)
        before = image.tobytes()
        pixels = preprocess(image)
        is_right = _are_pixels(pixels, pixel_format.size)
        assert is_right, f"an image of {size} became {pixels.dtype} {pixels.shape}"
        assert image.tobytes() == before and image.size == size, "the image was changed"
        assert np.array_equal(pixels, preprocess(image)), "the same image gave other pixels the second time"
    _check_pickles(preprocess)


def check_backend(backend: Backend) -> None:
    """Check that a backend keeps its protocol, for each of its outputs, on its best device.

    Args:
        backend: Instance to check.

    Raises:
        AssertionError: The protocol is broken; the message says which part of it.
    """
    # Patches of 8, 14, 16 and 32 pixels divide 224 and 448.
    height, width = backend.image_size or (224, 448)
    assert backend.dimension > 0, f"dimension must be positive, not {backend.dimension}"
    assert backend.devices, "devices must not be empty"
    assert backend.outputs and backend.outputs <= {"pooled", "tokens"}, f"unknown outputs {backend.outputs}"
    assert backend.prefix_tokens >= 0, f"prefix_tokens must be 0 or more, not {backend.prefix_tokens}"
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (5, height, width, 3), dtype=np.uint8)
    before = pixels.copy()
    for output in sorted(backend.outputs):
        features = backend(pixels, output=output, device=backend.devices[0])
        assert np.array_equal(pixels, before), f"{output}: the pixels were changed"
        assert isinstance(features, np.ndarray), f"{output}: {type(features).__name__}, not a numpy array"
        assert features.dtype == np.float32, f"{output}: {features.dtype}, not float32"
        assert features.ndim == (2 if output == "pooled" else 3), f"{output}: shape {features.shape}"
        assert features.shape[0] == 5 and features.shape[-1] == backend.dimension, f"{output}: shape {features.shape}"
        patches = features.shape[1] - backend.prefix_tokens
        assert output == "pooled" or patches > 0, (
            f"tokens: {features.shape[1]}, of which {backend.prefix_tokens} are prefix_tokens; no patch is left"
        )
        assert np.isfinite(features).all(), f"{output}: NaN or infinity"
        scale = np.abs(features).max()
        alone = [backend(pixels[row : row + 1], output=output, device=backend.devices[0])[0] for row in range(5)]
        difference = np.abs(np.stack(alone) - features).max() / scale
        assert difference < 1e-2, f"{output}: an image's features depend on its batch (by {difference:.1e})"
        assert np.abs(features - features[:1]).max() > 0, f"{output}: the same features for different images"
    untouched = np.random.default_rng(0).integers(0, 256, pixels.shape, dtype=np.uint8)
    assert np.array_equal(pixels, untouched), "the pixels were changed"
    _check_normalized_pixels(backend, pixels)
    _check_pickles(backend)


def check_pooling(pooling: Pooling) -> None:
    """Check that a pooling keeps its protocol.

    Args:
        pooling: Instance to check.

    Raises:
        AssertionError: The protocol is broken; the message says which part of it.
    """
    rows = {"pooled": (), "tokens": (1 + 16,), "prefix": (1,), "patches": (16,)}
    assert pooling.reads in rows, f"reads must be one of {', '.join(map(repr, rows))}, not {pooling.reads!r}"
    generator = np.random.default_rng(0)
    for count in (1, 3):
        features = generator.normal(size=(count, *rows[pooling.reads], 8)).astype(np.float32)
        before = features.copy()
        vectors = pooling(features)
        assert vectors.dtype == np.float32, f"{vectors.dtype}, not float32"
        assert vectors.shape == (count, 8), f"{features.shape} became {vectors.shape}, not {(count, 8)}"
        assert np.array_equal(features, before), "the features were changed"
        alone = np.concatenate([pooling(features[row : row + 1]) for row in range(count)])
        assert np.allclose(alone, vectors, atol=1e-6), "an image's vector depends on its batch"
    _check_pickles(pooling)


def check_text_backend(backend: TextBackend) -> None:
    """Check that a text backend keeps its protocol, on its best device.

    Args:
        backend: Instance to check.

    Raises:
        AssertionError: The protocol is broken; the message says which part of it.
    """
    assert backend.dimension > 0, f"dimension must be positive, not {backend.dimension}"
    assert backend.max_length > 0, f"max_length must be positive, not {backend.max_length}"
    assert backend.devices, "devices must not be empty"
    device, length = backend.devices[0], backend.max_length
    token_ids = np.arange(5 * length, dtype=np.int64).reshape(5, length) % 7 + 1
    mask = np.ones_like(token_ids)
    for given in (None, mask):
        vectors = backend(token_ids, given, device=device)
        assert isinstance(vectors, np.ndarray), f"{type(vectors).__name__}, not a numpy array"
        assert vectors.dtype == np.float32, f"{vectors.dtype}, not float32"
        assert vectors.shape == (5, backend.dimension), f"shape {vectors.shape}, not {(5, backend.dimension)}"
        assert np.isfinite(vectors).all(), "NaN or infinity"
    alone = np.concatenate([backend(token_ids[row : row + 1], mask[:1], device=device) for row in range(5)])
    difference = np.abs(alone - vectors).max() / np.abs(vectors).max()
    assert difference < 1e-2, f"a text's vector depends on its batch (by {difference:.1e})"
    assert np.abs(vectors - vectors[:1]).max() > 0, "the same vector for different texts"
    assert np.array_equal(token_ids, np.arange(5 * length).reshape(5, length) % 7 + 1), "the token ids were changed"
    _check_pickles(backend)


def _are_pixels(pixels: Pixels, size: tuple[int, int] | None) -> bool:
    shape = pixels.shape if pixels.dtype == np.uint8 else (*pixels.shape[1:], *pixels.shape[:1])
    is_number = pixels.dtype in (np.uint8, np.float32)
    return is_number and len(shape) == 3 and shape[2] == 3 and size in (None, shape[:2])


def _check_normalized_pixels(backend: Backend, pixels: Pixels) -> None:
    scaled = pixels.astype(np.float32) / np.float32(255) - np.float32(0.5)
    normalized = np.ascontiguousarray(scaled.transpose(0, 3, 1, 2))
    output = min(backend.outputs)
    features = backend(normalized, output=output, device=backend.devices[0])
    assert features.shape[0] == len(pixels), "float32 (n, 3, H, W) pixels were not taken"
    assert features.dtype == np.float32, f"float32 pixels gave {features.dtype}, not float32"


def _check_pickles(component: object) -> None:
    restored = pickle.loads(pickle.dumps(component))  # noqa: S301 - what was pickled just now
    assert type(restored) is type(component), f"unpickling gives {type(restored).__name__}, not the same class"


def _image(size: tuple[int, int]) -> Image.Image:
    width, height = size
    noise = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)
