"""Every component that is shipped keeps its protocol; a new file in its folder is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import pytest

import clip_image_encoder.pooling
import clip_image_encoder.preprocess
from clip_image_encoder import PixelFormat, Pooling, Preprocess
from clip_image_encoder.backends import available_backends, find_backend, find_text_backend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.testing import ToyBackend, check_backend, check_pooling, check_preprocess, check_text_backend


def classes_of(package: ModuleType) -> list[type]:
    """Return the public classes of a package's files."""
    names = [entry.name for entry in pkgutil.iter_modules(package.__path__) if not entry.name.startswith("_")]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    public = [getattr(module, name) for module in modules for name in module.__all__]
    return [value for value in public if isinstance(value, type)]


PREPROCESSES = classes_of(clip_image_encoder.preprocess)
POOLINGS = classes_of(clip_image_encoder.pooling)


def test_something_is_found() -> None:
    assert {kind.__name__ for kind in PREPROCESSES} >= {"ClipPreprocess"}
    assert {kind.__name__ for kind in POOLINGS} >= {"ClassTokenPooling", "MeanPatchesPooling", "PretrainedPooling"}
    assert "torch" in available_backends()


@pytest.mark.parametrize("kind", PREPROCESSES)
def test_a_preprocess_keeps_its_protocol(kind: type[Preprocess]) -> None:
    check_preprocess(kind())


@pytest.mark.parametrize("kind", POOLINGS)
def test_a_pooling_keeps_its_protocol(kind: type[Pooling]) -> None:
    check_pooling(kind())


@pytest.mark.parametrize("name", available_backends())
def test_a_backend_keeps_its_protocol(name: str) -> None:
    checkpoint = open_checkpoint("tiny-shapes")
    half = (0.5, 0.5, 0.5)
    pixel_format = PixelFormat(size=checkpoint.vision.image_size, mean=half, std=half)
    check_backend(find_backend(name)(checkpoint, pixel_format=pixel_format, dtype="float32", device="cpu"))


@pytest.mark.parametrize("name", available_backends())
def test_a_text_backend_keeps_its_protocol(name: str) -> None:
    check_text_backend(find_text_backend(name)(open_checkpoint("tiny-shapes"), dtype="float32", device="cpu"))


def test_the_toy_backend_keeps_its_protocol() -> None:
    check_backend(ToyBackend(dimension=5, image_size=(20, 30), grid=2))
