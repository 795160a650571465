"""What the integrations encode images and texts with: the settings hold for both."""

from __future__ import annotations

import ast
import inspect
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader, TextEncoder
from clip_image_encoder.integrations import _encoders
from clip_image_encoder.integrations._encoders import Encoders, image_column

TEXTS = ["a red circle", "a blue star"]


def test_texts_are_encoded_in_the_dtype_of_the_images() -> None:
    vectors = Encoders(model="tiny-shapes", device="cpu", dtype="bfloat16").encode_texts(TEXTS)
    expected = TextEncoder("tiny-shapes", device="cpu", dtype="bfloat16").encode(TEXTS)
    np.testing.assert_array_equal(vectors, expected)


def test_texts_are_encoded_by_the_backend_of_the_images() -> None:
    pytest.importorskip("openvino")  # which the session of the integrations goes without
    encoders = Encoders(model="tiny-shapes", backend="openvino", device="cpu", dtype="int8")
    expected = TextEncoder("tiny-shapes", backend="openvino", device="cpu", dtype="int8").encode(TEXTS)
    np.testing.assert_allclose(encoders.encode_texts(TEXTS), expected, atol=1e-6)


def test_a_backend_that_does_not_exist_is_refused_for_texts_too() -> None:
    with pytest.raises(ConfigurationError, match="no backend 'onyx'"):
        Encoders(model="tiny-shapes", backend="onyx").encode_texts(TEXTS)


def test_every_setting_of_an_image_encoder_can_be_given() -> None:
    settings = set(inspect.signature(ImageEncoder).parameters) - {"preprocess", "pooling"}
    assert settings <= {each.name for each in fields(Encoders)}


def test_all_settings_reach_both_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[dict[str, Any]] = []

    def recorded(model: str, **settings: Any) -> None:
        seen.append({"model": model, **settings})

    given = {
        "model": "a/b",
        "revision": "main",
        "backend": "onnx",
        "device": "cpu",
        "dtype": "int8",
        "loader": ImageLoader(exact=True),
        "num_workers": 3,
        "load_in": "processes",
        "token": "secret",
        "cache_dir": "here",
        "local_files_only": True,
    }
    monkeypatch.setattr(_encoders, "ImageEncoder", recorded)
    monkeypatch.setattr(_encoders, "TextEncoder", recorded)
    encoders = Encoders(**given)  # type: ignore[arg-type]
    encoders.images, encoders.texts  # noqa: B018
    of_images = ("loader", "num_workers", "load_in")
    assert seen == [given, {name: given[name] for name in given if name not in of_images}]


def test_a_token_is_not_shown() -> None:
    assert "secret" not in repr(Encoders(token="secret"))  # noqa: S106


def test_vectors_may_be_the_models_own_numbers() -> None:
    encoders = Encoders(model="tiny-shapes", device="cpu", normalize=False)
    image = np.zeros((8, 8, 3), np.uint8)
    expected = ImageEncoder("tiny-shapes", device="cpu").encode([image], normalize=False)
    np.testing.assert_array_equal(encoders.encode_images([image]), expected)
    np.testing.assert_array_equal(encoders.embed_images([image])[0], expected)
    words = TextEncoder("tiny-shapes", device="cpu").encode(TEXTS, normalize=False)
    np.testing.assert_array_equal(encoders.encode_texts(TEXTS), words)


@pytest.mark.parametrize("wrong", [-1, True, 2.5, "5"])
def test_a_wrong_number_of_threads_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="num_workers must be an integer from 0"):
        Encoders(num_workers=wrong)


@pytest.mark.parametrize("settings", [{"backend": "onnx"}, {"revision": "main"}, {"local_files_only": True}])
def test_an_encoder_is_not_given_settings_of_another_one(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=f"settings of its own; leave out {next(iter(settings))}"):
        Encoders(model=ImageEncoder("tiny-shapes"), **settings)


@pytest.mark.parametrize(
    ("names", "column", "found"),
    [
        (["path", "bytes"], None, "bytes"),
        (["path", "image"], None, "image"),
        (["label", "path"], None, "path"),
        (["path", "photo"], "photo", "photo"),
    ],
)
def test_the_column_with_images_is_named_or_found(names: list[str], column: str | None, found: str) -> None:
    assert image_column(names, column) == found


@pytest.mark.parametrize("path", sorted(Path(_encoders.__file__).parent.glob("[!_]*.py")), ids=lambda path: path.stem)
def test_an_integration_that_takes_settings_of_an_encoder_takes_all_of_them(path: Path) -> None:
    calls = [node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
    for call in calls:
        given = {keyword.arg for keyword in call.keywords}
        if isinstance(call.func, ast.Name) and call.func.id == "Encoders" and "revision" in given:
            assert given >= {"backend", "device", "dtype", "cache_dir", "local_files_only"}
