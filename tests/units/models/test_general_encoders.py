"""Encoders of models without a family's file: from a folder that transformers saved, to its own vectors."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sklearn.datasets import load_sample_images
from transformers import AutoTokenizer

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader, TextEncoder
from tests.units.preprocess.reference_processors import reference
from tests.units.text.tokenizer_files import CLIP_SIZE, write_clip

from .general_models import make, vectors_of_images, vectors_of_texts

PHOTOS = [Image.fromarray(photo) for photo in load_sample_images().images]
TEXTS = ["a red circle", "the", "", "A Blue STAR on the red circle"]
PROCESSORS: dict[str, tuple[str, dict[str, Any]]] = {
    "beit": ("BeitImageProcessor", {"size": {"height": 32, "width": 32}}),
    "convnext": ("ConvNextImageProcessor", {"size": {"shortest_edge": 56}, "crop_pct": 0.875}),
    "deit": (
        "DeiTImageProcessor",
        {"size": {"height": 40, "width": 40}, "crop_size": {"height": 32, "width": 32}, "resample": 3},
    ),
    "mobilevit": (
        "MobileViTImageProcessor",
        {"size": {"shortest_edge": 72}, "crop_size": {"height": 64, "width": 64}},
    ),
    "owlvit": ("OwlViTImageProcessor", {"size": {"height": 32, "width": 32}}),
    "swin": ("ViTImageProcessor", {"size": {"height": 48, "width": 48}}),
}
_CLIP = {"bos_token_id": CLIP_SIZE - 2, "eos_token_id": CLIP_SIZE - 1, "pad_token_id": CLIP_SIZE - 1}
_TEXT = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 40}
_TEXT |= {"vocab_size": CLIP_SIZE, "max_position_embeddings": 12, **_CLIP}


def saved(model_type: str, folder: Path, **changes: Any) -> tuple[Any, Any]:
    """Return a model and its image processor, which have saved themselves to a folder."""
    kind, settings = PROCESSORS[model_type]
    model, processor = make(model_type, **changes), reference(kind, **settings)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return model, processor


def unit(vectors: torch.Tensor) -> NDArray[np.float32]:
    units: NDArray[np.float32] = torch.nn.functional.normalize(vectors).numpy()
    return units


@pytest.mark.parametrize("model_type", PROCESSORS)
def test_a_photo_becomes_the_unit_vector_of_transformers_model_and_processor(model_type: str, tmp_path: Path) -> None:
    model, processor = saved(model_type, tmp_path)
    pixels = processor(images=PHOTOS, return_tensors="pt")["pixel_values"]
    vectors = ImageEncoder(tmp_path, loader=ImageLoader(exact=True), device="cpu").encode(PHOTOS)
    np.testing.assert_allclose(vectors, unit(vectors_of_images(model, pixels)), rtol=0, atol=1e-5)


def test_a_text_becomes_the_unit_vector_of_transformers_model_and_tokenizer(tmp_path: Path) -> None:
    model, _ = saved("owlvit", tmp_path, text_config=_TEXT)
    write_clip(tmp_path)
    tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path)
    tokens = tokenizer(TEXTS, padding="max_length", truncation=True, max_length=12, return_tensors="pt")
    vectors = TextEncoder(tmp_path, device="cpu").encode(TEXTS)
    np.testing.assert_allclose(vectors, unit(vectors_of_texts(model, tokens)), rtol=0, atol=1e-5)


def test_images_and_texts_have_vectors_of_one_length(tmp_path: Path) -> None:
    saved("owlvit", tmp_path, text_config=_TEXT)
    write_clip(tmp_path)
    images, texts = ImageEncoder(tmp_path, device="cpu"), TextEncoder(tmp_path, device="cpu")
    assert texts.probabilities(images.encode(PHOTOS), texts.encode(TEXTS)).shape == (2, 4)


def test_the_class_of_a_file_that_names_none_is_transformers_own_choice(tmp_path: Path) -> None:
    _, processor = saved("convnext", tmp_path)
    file = tmp_path / "preprocessor_config.json"
    settings = json.loads(file.read_text())
    del settings["image_processor_type"]
    file.write_text(json.dumps(settings))
    pixels = processor(images=PHOTOS[0], return_tensors="np")["pixel_values"][0]
    np.testing.assert_array_equal(ImageEncoder(tmp_path, device="cpu").preprocess(PHOTOS[0]), pixels)


def test_an_encoder_says_whose_code_it_runs(tmp_path: Path) -> None:
    saved("convnext", tmp_path)
    assert "through transformers' ConvNextModel" in repr(ImageEncoder(tmp_path, device="cpu"))


def test_a_pickled_encoder_gives_the_same_vectors_and_fingerprint(tmp_path: Path) -> None:
    saved("convnext", tmp_path)
    encoder = ImageEncoder(tmp_path, device="cpu")
    again: ImageEncoder = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(again.encode(PHOTOS), encoder.encode(PHOTOS))
    assert again.fingerprint == encoder.fingerprint


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_an_encoder_with_another_runtime_is_refused_before_the_first_image(tmp_path: Path, backend: str) -> None:
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[backend])
    saved("convnext", tmp_path)
    with pytest.raises(ConfigurationError, match="use backend='torch'"):
        ImageEncoder(tmp_path, backend=backend, device="cpu")


def test_a_size_that_the_class_does_not_take_is_refused_before_the_first_image(tmp_path: Path) -> None:
    saved("deit", tmp_path)
    file = tmp_path / "preprocessor_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"crop_size": {"height": 40, "width": 40}}))
    with pytest.raises(ConfigurationError, match=r"takes pixels of size \(32, 32\), the preprocess makes \(40, 40\)"):
        ImageEncoder(tmp_path, device="cpu")


def test_a_processor_that_keeps_the_aspect_ratio_is_refused_before_the_weights_are_read(tmp_path: Path) -> None:
    make("yolos").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    reference("YolosImageProcessor").save_pretrained(tmp_path)
    with pytest.raises(ConfigurationError, match="YolosImageProcessor makes pixels of the shapes"):
        ImageEncoder(tmp_path, device="cpu")
