"""Checkpoints that sentence-transformers writes or reads give its vectors and its token ids."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

import clip_image_encoder
from clip_image_encoder import ImageEncoder, ImageLoader, TextEncoder
from clip_image_encoder.tiny_shapes.draw import Scene, draw
from tests.units.text.sentences import DIMENSION, DistilBert, fill, modules_json

BUNDLED = Path(clip_image_encoder.__file__).parent / "tiny_shapes" / "checkpoint"
TEXTS = ["a red circle", "A Red, CIRCLE!", "", "漢字 仮名", "e\u0301lan é 😀👩\u200d👩", "[SEP] on", "star " * 40]


@pytest.fixture(scope="module")
def multilingual(tmp_path_factory: pytest.TempPathFactory) -> DistilBert:
    """The text tower of the space of an index; its folder is not to be changed."""
    return DistilBert(tmp_path_factory.mktemp("multilingual"))


@pytest.fixture(scope="module")
def pictures() -> list[Image.Image]:
    drawn = [draw(Scene(color=color, shape=shape)) for color in ("red", "blue") for shape in ("star", "heart")]
    noise = np.random.default_rng(0).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    return [*drawn, Image.fromarray(noise)]


def save(modules: Sequence[Any], folder: Path) -> SentenceTransformer:
    model = SentenceTransformer(modules=list(modules), device="cpu")
    model.save(str(folder))
    return model


def legacy_clip(folder: Path) -> Path:
    """Lay tiny-shapes out as clip-ViT-B-32 on the hub."""
    shutil.copytree(BUNDLED, folder / "0_CLIPModel")
    modules_json(folder, ("CLIPModel", "0_CLIPModel"))
    return folder


def theirs(model: SentenceTransformer, inputs: Sequence[Any]) -> NDArray[np.float32]:
    """Return the rows of a model, one by one, as they come."""
    return np.stack([np.asarray(model.encode(each, normalize_embeddings=False)) for each in inputs])


def assert_same_texts(folder: Path, model: SentenceTransformer) -> None:
    encoder = TextEncoder(folder, device="cpu")
    ids = [encoder.tokenizer([text])[0][0].tolist() for text in TEXTS]
    assert ids == [model.preprocess([text])["input_ids"][0].tolist() for text in TEXTS]
    expected = theirs(model, TEXTS)
    made = encoder.encode(TEXTS, normalize=False)
    # In the size of the vectors: those of a model with random weights are long.
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-5 * max(1, float(np.abs(expected).max())))
    units = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(encoder.encode(TEXTS), units, rtol=0, atol=1e-5)


def assert_same_pictures(folder: Path, model: SentenceTransformer, pictures: list[Image.Image]) -> None:
    encoder = ImageEncoder(folder, device="cpu", loader=ImageLoader(exact=True))
    expected = theirs(model, pictures)
    np.testing.assert_allclose(encoder.encode(pictures, normalize=False), expected, rtol=0, atol=1e-5)


def test_a_clip_model_of_the_hubs_layout(tmp_path: Path, pictures: list[Image.Image]) -> None:
    folder = legacy_clip(tmp_path)
    model = SentenceTransformer(str(folder), device="cpu")
    assert_same_texts(folder, model)
    assert_same_pictures(folder, model, pictures)


def test_a_clip_model_that_was_loaded_and_saved_again(tmp_path: Path, pictures: list[Image.Image]) -> None:
    model = SentenceTransformer(str(legacy_clip(tmp_path / "old")), device="cpu")
    model.save(str(tmp_path / "new"))
    assert_same_texts(tmp_path / "new", model)
    assert_same_pictures(tmp_path / "new", model, pictures)


@pytest.mark.parametrize("behind", [[], [Normalize()]], ids=["alone", "normalized"])
def test_a_transformer_with_both_towers(tmp_path: Path, pictures: list[Image.Image], behind: list[Any]) -> None:
    model = save([Transformer(str(BUNDLED)), *behind], tmp_path)
    assert_same_texts(tmp_path, model)
    assert_same_pictures(tmp_path, model, pictures)


@pytest.mark.parametrize("first", ["", "0_Transformer"])
def test_a_text_tower_of_the_hubs_layout(tmp_path: Path, first: str) -> None:
    folder = DistilBert(tmp_path, first=first).folder
    assert_same_texts(folder, SentenceTransformer(str(folder), device="cpu"))


@pytest.mark.parametrize("mode", ["mean", "cls", "max"])
def test_each_pooling(tmp_path: Path, multilingual: DistilBert, mode: Any) -> None:
    model = save([Transformer(str(multilingual.folder)), Pooling(multilingual.WIDTH, mode)], tmp_path)
    assert_same_texts(tmp_path, model)


@pytest.mark.parametrize("activation", [torch.nn.Identity(), torch.nn.Tanh(), torch.nn.ReLU()], ids=repr)
@pytest.mark.parametrize("bias", [True, False])
def test_dense_layers_with_a_normalize_between_them(
    tmp_path: Path, multilingual: DistilBert, activation: torch.nn.Module, bias: bool
) -> None:
    width = multilingual.WIDTH
    layers = [Dense(width, 2 * width, bias, activation), Dense(2 * width, DIMENSION, bias, activation)]
    for seed, layer in enumerate(layers):
        fill(layer, seed)
    modules = [Transformer(str(multilingual.folder)), Pooling(width), layers[0], Normalize(), layers[1], Normalize()]
    assert_same_texts(tmp_path, save(modules, tmp_path))


@pytest.mark.parametrize("length", [5, 18])
def test_the_length_at_which_texts_are_cut(tmp_path: Path, multilingual: DistilBert, length: int) -> None:
    encoder = Transformer(str(multilingual.folder), processor_kwargs={"model_max_length": length})
    model = save([encoder, Pooling(multilingual.WIDTH)], tmp_path)
    assert_same_texts(tmp_path, model)
    assert TextEncoder(tmp_path).backend.max_length == length


def test_lower_case_that_the_tokenizers_files_do_not_say(tmp_path: Path) -> None:
    tower = DistilBert(tmp_path)
    settings = tmp_path / "sentence_bert_config.json"
    settings.write_text(settings.read_text().replace("false", "true"))
    model = SentenceTransformer(str(tower.folder), device="cpu")
    assert_same_texts(tower.folder, model)
    shouted, plain = TextEncoder(tower.folder).encode(["A RED CIRCLE", "a red circle"])
    np.testing.assert_allclose(shouted, plain, rtol=0, atol=1e-5)


def test_a_batch_gives_what_its_texts_give_alone(multilingual: DistilBert) -> None:
    model = SentenceTransformer(str(multilingual.folder), device="cpu")
    expected = model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(
        TextEncoder(multilingual.folder, device="cpu").encode(TEXTS), expected, rtol=0, atol=1e-5
    )
