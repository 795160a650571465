"""What can't be done is an error when the encoder is made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import (
    CheckpointError,
    ClassTokenPooling,
    ClipPreprocess,
    ConfigurationError,
    ImageEncoder,
    MeanPatchesPooling,
    MissingExtraError,
    Output,
    PretrainedPooling,
)
from clip_image_encoder.testing import ToyBackend


@dataclass(frozen=True, kw_only=True)
class PooledOnly(ToyBackend):
    @property
    def outputs(self) -> frozenset[Output]:
        return frozenset({"pooled"})


def test_a_misspelt_backend_lists_those_there() -> None:
    with pytest.raises(ConfigurationError, match="no backend 'touch'; there are 'onnx', 'openvino', 'torch'"):
        ImageEncoder("tiny-shapes", backend="touch")


def test_a_backend_without_its_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "exotic.py").write_text("import a_runtime_that_is_not_installed\n")
    monkeypatch.setattr("clip_image_encoder.backends.__path__", [str(tmp_path)])
    with pytest.raises(MissingExtraError, match=r"pip install 'clip-image-encoder\[exotic\]'") as caught:
        ImageEncoder("tiny-shapes", backend="exotic")
    assert isinstance(caught.value, ImportError)


def test_a_misspelt_folder_is_a_checkpoint_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        ImageEncoder(tmp_path / "nowhere")


@pytest.mark.parametrize("model", [ToyBackend, 3, None], ids=repr)
def test_a_model_that_is_no_name_and_no_backend_is_refused(model: Any) -> None:
    with pytest.raises(ConfigurationError, match="model must be"):
        ImageEncoder(model)


@pytest.mark.parametrize(
    "extra",
    [{"model": "tiny-shapes"}, {"revision": "main"}, {"dtype": "float16"}, {"token": "x"}, {"local_files_only": True}],
)
def test_a_backend_instance_refuses_what_would_load_another(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="loaded already"):
        ImageEncoder(backend=ToyBackend(), **extra)


def test_a_preprocess_of_another_size_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"size \(224, 224\), the backend takes size \(32, 32\)"):
        ImageEncoder(backend=ToyBackend(), preprocess=ClipPreprocess())


def test_a_preprocess_of_another_size_than_the_checkpoint_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="size"):
        ImageEncoder("tiny-shapes", preprocess=ClipPreprocess())


@pytest.mark.parametrize("pooling", [MeanPatchesPooling(), ClassTokenPooling()])
def test_a_pooling_of_what_the_backend_does_not_give_is_refused(pooling: MeanPatchesPooling) -> None:
    with pytest.raises(ConfigurationError, match=r"reads '(prefix|patches)', the backend gives \['pooled'\]"):
        ImageEncoder(backend=PooledOnly(), pooling=pooling)


@pytest.mark.parametrize(
    "wrong",
    [{"pooling": PretrainedPooling}, {"pooling": "mean"}, {"preprocess": ClipPreprocess}, {"loader": "fast"}],
    ids=repr,
)
def test_components_are_instances(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        ImageEncoder(backend=ToyBackend(), **wrong)


@pytest.mark.parametrize("device", ["tpu", [], ["cpu", "cuda:99"]], ids=repr)
def test_a_device_that_is_not_here_is_refused(device: Any) -> None:
    with pytest.raises(ConfigurationError, match="device"):
        ImageEncoder(backend=ToyBackend(), device=device)


def test_a_dtype_that_the_backend_lacks_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'int8'"):
        ImageEncoder("tiny-shapes", dtype="int8")


@pytest.mark.parametrize("num_workers", [-1, 1.5, True, "2"], ids=repr)
def test_a_number_of_workers_that_is_none_is_refused(num_workers: Any) -> None:
    with pytest.raises(ConfigurationError, match="num_workers"):
        ImageEncoder(backend=ToyBackend(), num_workers=num_workers)


def test_a_callable_that_normalizes_by_itself_is_a_preprocess(noise: Image.Image) -> None:
    def transform(image: Image.Image) -> np.ndarray:
        pixels = np.asarray(image.resize((32, 32)), np.float32) / 255 - 0.5
        return pixels.transpose(2, 0, 1)

    backend = ToyBackend()
    pixels = np.asarray(noise.resize((32, 32)))[None]
    expected = backend(pixels, output="pooled", device="cpu")[0]
    vector = ImageEncoder(backend=backend, preprocess=transform).encode(noise, normalize=False)
    np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_components_can_be_read_and_called_alone(noise: Image.Image) -> None:
    encoder = ImageEncoder("tiny-shapes")
    pixels = encoder.preprocess(encoder.loader(noise))
    features = encoder.backend(pixels[None], output="pooled", device="cpu")
    vector = encoder.pooling(features)[0]
    np.testing.assert_allclose(vector, encoder.encode(noise, normalize=False), atol=1e-5)


def test_a_variant_of_a_component_is_made_by_replace(noise: Image.Image) -> None:
    encoder = ImageEncoder(backend=ToyBackend())
    darker = replace(encoder.loader, background=(0, 0, 0))
    assert ImageEncoder(backend=ToyBackend(), loader=darker).loader.background == (0, 0, 0)
