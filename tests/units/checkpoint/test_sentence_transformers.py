"""Folders of sentence-transformers: a model of both towers in a folder below, and the lists that are refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import nn

import clip_image_encoder
from clip_image_encoder import CheckpointError, ImageEncoder, TextEncoder
from clip_image_encoder.checkpoint import open_checkpoint
from tests.units.text.sentences import DistilBert, modules_json, write_dense, write_json, write_pooling

from .fake_hub import FakeHub

BUNDLED = Path(clip_image_encoder.__file__).parent / "tiny_shapes" / "checkpoint"
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
TEXTS = ["a red circle", "a blue star"]
ENCODERS = [ImageEncoder, TextEncoder]
NAME = "someone/clip"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """tiny-shapes, laid out as clip-ViT-B-32 on the hub."""
    folder = tmp_path / "clip"
    shutil.copytree(BUNDLED, folder / "0_CLIPModel")
    modules_json(folder, ("CLIPModel", "0_CLIPModel"))
    return folder


@pytest.fixture
def at_the_top(tmp_path: Path) -> Path:
    """tiny-shapes as version 6 saves it, with the model's files beside modules.json."""
    folder = tmp_path / "top"
    shutil.copytree(BUNDLED, folder)
    kind = "sentence_transformers.base.modules.transformer.Transformer"
    write_json(folder / "modules.json", [{"idx": 0, "name": "0", "path": "", "type": kind}])
    return folder


def vectors(model: str | Path, *, normalize: bool = True) -> list[NDArray[np.float32]]:
    images = ImageEncoder(model, device="cpu").encode(IMAGES, normalize=normalize)
    return [images, TextEncoder(model, device="cpu").encode(TEXTS, normalize=normalize)]


def assert_those_of_tiny_shapes(model: str | Path) -> None:
    for made, expected in zip(vectors(model), vectors("tiny-shapes"), strict=True):
        np.testing.assert_array_equal(made, expected)


def as_pickle(folder: Path) -> None:
    """Put a pickle in the place of a folder's safetensors."""
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"pickle")


def test_a_model_in_a_folder_below_has_the_vectors_of_the_same_model_alone(clip: Path) -> None:
    assert open_checkpoint(clip).format.config_file == "modules.json"
    assert_those_of_tiny_shapes(clip)


def test_a_model_beside_the_list_has_the_vectors_of_the_same_model_alone(at_the_top: Path) -> None:
    assert open_checkpoint(at_the_top).format.config_file == "modules.json"
    assert_those_of_tiny_shapes(at_the_top)


def test_what_a_cosine_means_is_read_from_the_folder_below(clip: Path) -> None:
    here, plain = TextEncoder(clip), TextEncoder("tiny-shapes")
    assert here.logit_scale == plain.logit_scale is not None


def test_with_a_normalize_behind_it_the_models_own_numbers_are_unit_vectors(clip: Path) -> None:
    modules_json(clip, ("CLIPModel", "0_CLIPModel"), ("Normalize", "1_Normalize"))
    for own, unit in zip(vectors(clip, normalize=False), vectors("tiny-shapes"), strict=True):
        np.testing.assert_allclose(own, unit, atol=1e-6)


def test_texts_are_cut_where_the_folder_says(clip: Path) -> None:
    write_json(clip / "0_CLIPModel" / "sentence_bert_config.json", {"max_seq_length": 4})
    encoder = TextEncoder(clip, device="cpu")
    assert encoder.tokenizer(["a red circle on a blue star"])[0].shape == (1, 4)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_the_fingerprint_is_of_the_list_the_config_and_the_weights(
    clip: Path, encoder: Callable[..., ImageEncoder | TextEncoder]
) -> None:
    before = encoder(clip).fingerprint
    (clip / "README.md").write_text("no part of the model")
    assert encoder(clip).fingerprint == before
    for name in ("modules.json", "0_CLIPModel/config.json"):
        content = (clip / name).read_text()
        (clip / name).write_text(content + " ")
        assert encoder(clip).fingerprint != before
        (clip / name).write_text(content)
    assert encoder(clip).fingerprint == before


def test_a_pickled_encoder_loads_the_same_folder(clip: Path) -> None:
    encoder = TextEncoder(clip, device="cpu")
    restored = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(restored.encode(TEXTS), encoder.encode(TEXTS))
    assert restored.fingerprint == encoder.fingerprint


def test_a_model_on_the_hub_is_read_from_its_folder_below(hub: FakeHub, clip: Path) -> None:
    hub.publish(NAME, clip)
    assert_those_of_tiny_shapes(NAME)
    assert not [request for request in hub.requests if "discussions" in request]
    fetched = {request.partition("/main/")[2] or request for request in hub.requests if "/resolve/main/" in request}
    assert fetched == {"modules.json"}  # all that comes later is of the commit that it names


def test_it_is_read_from_the_cache_without_the_hub(hub: FakeHub, clip: Path) -> None:
    hub.publish(NAME, clip)
    first = vectors(NAME)
    hub.close()
    for made, expected in zip(vectors(NAME), first, strict=True):
        np.testing.assert_array_equal(made, expected)
    assert TextEncoder(NAME, local_files_only=True).fingerprint == TextEncoder(clip).fingerprint


def test_a_text_tower_on_the_hub_is_read_from_all_of_its_folders(hub: FakeHub, tmp_path: Path) -> None:
    tower = DistilBert(tmp_path / "tower")
    hub.publish("someone/multilingual", tower.folder)
    expected = tower.vectors(TEXTS).numpy()
    for is_offline in (False, True):
        encoder = TextEncoder("someone/multilingual", device="cpu", local_files_only=is_offline)
        np.testing.assert_allclose(encoder.encode(TEXTS, normalize=False), expected, rtol=0, atol=1e-5)
    assert not [request for request in hub.requests if "discussions" in request]


def test_a_conversion_of_a_repository_with_pickles_below_is_read(hub: FakeHub, clip: Path) -> None:
    hub.publish(NAME, clip, revision="refs/pr/1")
    as_pickle(clip / "0_CLIPModel")
    hub.publish(NAME, clip)
    assert_those_of_tiny_shapes(NAME)
    assert not any("pytorch_model.bin" in request for request in hub.requests)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_pickle_below_is_named_and_how_to_convert_it(clip: Path, encoder: Callable[..., object]) -> None:
    as_pickle(clip / "0_CLIPModel")
    with pytest.raises(CheckpointError) as caught:
        encoder(clip)
    assert str(caught.value) == (
        f"{clip}: the weights in 0_CLIPModel/pytorch_model.bin are a pickle, and loading one can run any code; convert "
        f"all with sentence-transformers, SentenceTransformer('{clip}').save(folder), and take that folder"
    )


@pytest.mark.parametrize(("folder", "named"), [("", "pytorch_model.bin"), ("2_Dense", "2_Dense/pytorch_model.bin")])
def test_a_pickle_of_any_module_of_a_text_tower_is_named(tmp_path: Path, folder: str, named: str) -> None:
    tower = DistilBert(tmp_path)
    as_pickle(tower.folder / folder)
    with pytest.raises(CheckpointError, match=f"the weights in {named} are a pickle.*SentenceTransformer.*save"):
        TextEncoder(tower.folder)


@pytest.mark.parametrize("name", ["model.safetensors", "2_Dense/model.safetensors"])
def test_weights_that_are_missing_are_named(tmp_path: Path, name: str) -> None:
    tower = DistilBert(tmp_path)
    (tower.folder / name).unlink()
    with pytest.raises(CheckpointError, match=f" {name} is missing"):
        TextEncoder(tower.folder)


def test_weights_beside_the_list_are_taken_if_those_of_its_modules_are_pickles(clip: Path) -> None:
    as_pickle(clip / "0_CLIPModel")
    shutil.copytree(BUNDLED, clip, dirs_exist_ok=True)
    assert_those_of_tiny_shapes(clip)


def test_images_of_a_text_tower_are_refused_and_whose_to_take_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a text tower only; .* with those of clip-ViT-B-32$"):
        ImageEncoder(DistilBert(tmp_path).folder)


def test_images_that_are_pooled_behind_another_encoder_are_refused_by_name(at_the_top: Path) -> None:
    modules_json(at_the_top, ("Transformer", ""), ("Pooling", "1_Pooling"))
    write_pooling(at_the_top / "1_Pooling", 24)
    with pytest.raises(CheckpointError, match=r"modules\.json has Pooling among Transformer, Pooling; supported are"):
        ImageEncoder(at_the_top)


@pytest.mark.parametrize(
    ("kinds", "named"),
    [
        (["Router"], "Router among Router"),
        (["Asym", "Pooling"], "Asym among Asym, Pooling"),
        (["WordEmbeddings", "Pooling"], "WordEmbeddings among"),
        (["Transformer", "CNN", "Pooling"], "CNN among"),
        (["Transformer", "Pooling", "LSTM"], "Pooling among"),
        (["Transformer", "WeightedLayerPooling", "Pooling"], "WeightedLayerPooling among"),
        (["CLIPModel", "Dense"], "Dense among CLIPModel, Dense"),
    ],
    ids=str,
)
@pytest.mark.parametrize("encoder", ENCODERS)
def test_other_lists_of_modules_are_refused_by_name(
    at_the_top: Path, encoder: Callable[..., object], kinds: list[str], named: str
) -> None:
    modules_json(at_the_top, *((kind, f"{place}_{kind}" if place else "") for place, kind in enumerate(kinds)))
    write_pooling(at_the_top / f"{len(kinds) - 1}_Pooling", 24)
    write_pooling(at_the_top / "1_Pooling", 24)
    write_dense(at_the_top / "1_Dense", nn.Linear(2, 2))
    with pytest.raises(CheckpointError, match=f"modules.json has {named}"):
        encoder(at_the_top)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("place", [0, 1])
def test_a_module_with_code_of_its_own_is_refused_and_not_executed(
    at_the_top: Path, encoder: Callable[..., object], place: int
) -> None:
    (at_the_top / "custom.py").write_text("raise SystemExit")
    types = ["sentence_transformers.models.Transformer", "sentence_transformers.models.Normalize"]
    types[place] = "custom.Module"
    write_json(at_the_top / "modules.json", [{"type": kind, "path": ""} for kind in types])
    with pytest.raises(CheckpointError, match=r"the module custom\.Module needs code of its own.*never executed"):
        encoder(at_the_top)


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        ["Transformer"],
        [{"path": ""}],
        [{"type": 3, "path": ""}],
        *([{"type": "sentence_transformers.models.CLIPModel", "path": path}] for path in ("..", "../x", "/x", "a/b")),
    ],
    ids=str,
)
def test_what_is_no_list_of_modules_is_refused(clip: Path, content: object) -> None:
    write_json(clip / "modules.json", content)
    with pytest.raises(CheckpointError, match=r"modules\.json is not a list of modules, each with a type and a path"):
        open_checkpoint(clip)


def test_a_folder_with_another_modules_json_is_read_as_what_else_it_is(at_the_top: Path) -> None:
    write_json(at_the_top / "modules.json", {"modules": []})
    assert_those_of_tiny_shapes(at_the_top)


def test_texts_that_would_start_with_a_prompt_are_refused(clip: Path) -> None:
    config: dict[str, object] = {"prompts": {"query": "", "find": "find: "}, "default_prompt_name": None}
    write_json(clip / "config_sentence_transformers.json", config)
    assert TextEncoder(clip).encode("a red circle").shape == (64,)
    write_json(clip / "config_sentence_transformers.json", config | {"default_prompt_name": "find"})
    with pytest.raises(CheckpointError, match="a default prompt, 'find: ', which is not supported"):
        TextEncoder(clip)
    assert ImageEncoder(clip, device="cpu").encode(IMAGES).shape == (3, 64)


def test_tensors_of_the_same_name_in_several_folders_are_told_apart(tmp_path: Path) -> None:
    tower = DistilBert(tmp_path)
    write_dense(tower.folder / "2_Dense", nn.Linear(tower.WIDTH, tower.WIDTH))
    write_dense(tower.folder / "3_Dense", nn.Linear(tower.WIDTH, 5))
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"), ("Dense", "3_Dense")]
    modules_json(tower.folder, *modules)
    checkpoint = open_checkpoint(tower.folder)
    tensors = checkpoint.format.tensors(checkpoint.files)
    assert {name: file for name, file in tensors.items() if "linear" in name and "Dense" in name} == {
        f"{folder}/linear.{part}": f"{folder}/model.safetensors"
        for folder in ("2_Dense", "3_Dense")
        for part in ("weight", "bias")
    }
    assert set(load_file(tower.folder / "model.safetensors")) < set(tensors)
    assert json.loads((tower.folder / "3_Dense" / "config.json").read_text())["out_features"] == 5
    assert TextEncoder(tower.folder).dimension == 5
