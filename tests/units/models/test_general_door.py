"""A model without a family's file runs through its own class of transformers, and gives what that class gives."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor

from clip_image_encoder import CheckpointError, ConfigurationError, PixelFormat
from clip_image_encoder.backends import find_backend
from clip_image_encoder.backends.torch import TorchBackend, TorchTextBackend
from clip_image_encoder.checkpoint import Checkpoint, open_checkpoint
from clip_image_encoder.models._general_door.silence import silence
from clip_image_encoder.testing import check_backend, check_text_backend
from tests.units.backends.families import MEAN, STD, normalize

from .general_models import DUAL, HERE, VOCABULARY, make, vectors_of_images, vectors_of_texts

FIXED = ["deit", "hiera", "levit", "groupvit", "owlvit"]
CLASSIFIERS = {
    "beit": "BeitForImageClassification",
    "convnext": "ConvNextForImageClassification",
    "mobilevit": "MobileViTForImageClassification",
    "resnet": "ResNetForImageClassification",
    "swin": "SwinForImageClassification",
}


@dataclass(frozen=True)
class Saved:
    """A model of transformers, and the folder that it saved itself to."""

    model: Any
    folder: Path

    @property
    def checkpoint(self) -> Checkpoint:
        return open_checkpoint(self.folder)

    @property
    def pixel_format(self) -> PixelFormat:
        return PixelFormat(size=self.checkpoint.vision.image_size, mean=MEAN, std=STD)

    def backend(self, **settings: Any) -> TorchBackend:
        given: dict[str, Any] = {"pixel_format": self.pixel_format, "device": "cpu"}
        return TorchBackend(self.checkpoint, **given | settings)

    def text_backend(self, **settings: Any) -> TorchTextBackend:
        return TorchTextBackend(self.checkpoint, **{"device": "cpu"} | settings)


Save = Callable[..., Saved]


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory) -> Save:
    """Saves a tiny model of a `model_type` to a folder of its own."""

    def save_model(model_type: str, kind: str | None = None, **changes: Any) -> Saved:
        folder, model = tmp_path_factory.mktemp(model_type), make(model_type, kind, **changes)
        model.save_pretrained(folder)
        return Saved(model=model, folder=folder)

    return save_model


@pytest.fixture(scope="module", params=HERE)
def each(request: pytest.FixtureRequest, save: Save) -> Saved:
    """Each type in turn; the folder is not to be changed."""
    return save(request.param)


@pytest.fixture(scope="module", params=[model_type for model_type in DUAL if model_type != "aimv2"])
def dual(request: pytest.FixtureRequest, save: Save) -> Saved:
    """Each type in turn whose texts have vectors, too; the folder is not to be changed."""
    return save(request.param)


def pixels_of(size: tuple[int, int] | None) -> NDArray[np.uint8]:
    assert size is not None
    return np.random.default_rng(0).integers(0, 256, (4, *size, 3), dtype=np.uint8)


def encoded(backend: TorchBackend, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return backend(pixels, output="pooled", device="cpu")


def check_equal(vectors: NDArray[np.float32], expected: NDArray[np.float32]) -> None:
    """Check that vectors have the same directions to 1e-5, and the same lengths."""
    lengths, wanted = (np.linalg.norm(rows, axis=1, keepdims=True) for rows in (vectors, expected))
    np.testing.assert_allclose(vectors / lengths, expected / wanted, rtol=0, atol=1e-5)
    np.testing.assert_allclose(lengths, wanted, rtol=1e-4)


def change(folder: Path, **values: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def change_weights(folder: Path, rule: Callable[[dict[str, Tensor]], dict[str, Tensor]]) -> None:
    file = folder / "model.safetensors"
    save_file(rule(load_file(file)), file)


def test_vectors_of_images_are_those_of_the_class(each: Saved) -> None:
    pixels = pixels_of(each.pixel_format.size)
    expected = vectors_of_images(each.model, normalize(pixels)).numpy()
    assert np.ptp(expected, axis=0).max() > 1e-2  # or else any image would have this vector
    check_equal(encoded(each.backend(), pixels), expected)


def test_vectors_of_texts_are_those_of_the_class(dual: Saved) -> None:
    backend = dual.text_backend()
    token_ids = np.random.default_rng(0).integers(2, VOCABULARY - 1, (4, backend.max_length))
    token_ids[:, -1] = VOCABULARY - 1
    tokens = {
        "input_ids": torch.from_numpy(token_ids),
        "attention_mask": torch.ones(token_ids.shape, dtype=torch.int64),
    }
    expected = vectors_of_texts(dual.model, tokens).numpy()
    assert np.ptp(expected, axis=0).max() > 1e-2
    check_equal(backend(token_ids, None, device="cpu"), expected)


def test_a_text_has_the_same_vector_beside_a_longer_one(dual: Saved) -> None:
    backend = dual.text_backend()
    token_ids = np.array([[3, 4, VOCABULARY - 1, 0, 0, 0], [5, 6, 7, 8, 9, VOCABULARY - 1]])
    mask = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 1, 1]])
    together = backend(token_ids, mask, device="cpu")
    alone = backend(token_ids[:1, :3], mask[:1, :3], device="cpu")
    check_equal(together[:1], alone)


@pytest.mark.skipif("aimv2" not in HERE, reason="this transformers has no AIMv2")
def test_a_class_whose_texts_depend_on_those_beside_them_is_refused(save: Save) -> None:
    # transformers makes AIMv2's attention causal only where a batch has padding.
    with pytest.raises(CheckpointError, match="transformers' Aimv2Model gives a text another vector beside a longer"):
        save("aimv2").text_backend()


def test_both_towers_keep_the_contracts_of_backends(save: Save) -> None:
    saved = save("owlvit")
    check_backend(saved.backend())
    check_text_backend(saved.text_backend())


def test_its_repr_says_whose_code_computes_the_vectors(save: Save) -> None:
    assert repr(save("convnext").backend()).endswith("through transformers' ConvNextModel)")
    assert repr(save("owlvit").text_backend()).endswith("through transformers' OwlViTModel)")


@pytest.mark.parametrize("runtime", ["onnx", "openvino"])
def test_runtimes_of_graphs_refuse_it_at_construction(save: Save, runtime: str) -> None:
    pytest.importorskip({"onnx": "onnxruntime", "openvino": "openvino"}[runtime])
    saved = save("convnext")
    with pytest.raises(ConfigurationError, match=r"transformers' ConvNextModel.*use backend='torch'"):
        find_backend(runtime)(saved.checkpoint, pixel_format=saved.pixel_format, dtype="auto", device="cpu")


@pytest.mark.parametrize("model_type", CLASSIFIERS)
def test_a_classifiers_file_gives_the_vectors_that_it_classifies(save: Save, model_type: str) -> None:
    saved = save(model_type, CLASSIFIERS[model_type])
    pixels = pixels_of(saved.pixel_format.size)
    expected = vectors_of_images(getattr(saved.model, saved.model.base_model_prefix), normalize(pixels)).numpy()
    check_equal(encoded(saved.backend(), pixels), expected)


def test_a_detectors_file_gives_the_vectors_of_the_model_in_it(save: Save) -> None:
    saved = save("owlvit", "OwlViTForObjectDetection")
    pixels = pixels_of(saved.pixel_format.size)
    expected = vectors_of_images(saved.model.owlvit, normalize(pixels)).numpy()
    check_equal(encoded(saved.backend(), pixels), expected)


@pytest.mark.parametrize("kind", ["OwlViTVisionModel", "GroupViTVisionModel"])
def test_a_tower_that_auto_model_has_no_class_for_runs_through_the_one_that_saved_it(
    kind: str, tmp_path: Path, save: Save
) -> None:
    whole = make(kind.removesuffix("VisionModel").lower())
    tower = getattr(transformers, kind)(whole.config.vision_config).eval()
    tower.save_pretrained(tmp_path)
    saved = Saved(model=tower, folder=tmp_path)
    pixels = pixels_of(saved.pixel_format.size)
    expected = vectors_of_images(tower, normalize(pixels)).numpy()
    check_equal(encoded(saved.backend(), pixels), expected)


def test_weights_in_several_files_are_read(tmp_path: Path) -> None:
    model = make("swin")
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    assert not (tmp_path / "model.safetensors").exists()
    saved = Saved(model=model, folder=tmp_path)
    pixels = pixels_of(saved.pixel_format.size)
    expected = vectors_of_images(model, normalize(pixels)).numpy()
    check_equal(encoded(saved.backend(), pixels), expected)


@pytest.mark.parametrize("model_type", sorted({"beit", "convnext", "swin", "yolos"}))
def test_a_class_that_takes_any_size_is_given_other_sizes_than_its_configs(save: Save, model_type: str) -> None:
    saved = save(model_type)
    pixels = pixels_of((48, 40))
    expected = vectors_of_images(saved.model, normalize(pixels)).numpy()
    backend = saved.backend(pixel_format=replace(saved.pixel_format, size=(48, 40)))
    check_equal(encoded(backend, pixels), expected)


@pytest.mark.parametrize("model_type", FIXED)
def test_a_class_of_one_size_refuses_another(save: Save, model_type: str) -> None:
    saved = save(model_type)
    with pytest.raises(ConfigurationError, match=r"takes pixels of size \(\d+, \d+\), the preprocess makes \(48, 48\)"):
        saved.backend(pixel_format=replace(saved.pixel_format, size=(48, 48)))


def test_a_pickled_backend_gives_the_same_vectors(save: Save) -> None:
    backend = save("regnet").backend()
    again: TorchBackend = pickle.loads(pickle.dumps(backend))
    pixels = pixels_of(backend.image_size)
    np.testing.assert_array_equal(encoded(again, pixels), encoded(backend, pixels))
    assert again.fingerprint == backend.fingerprint


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("model_type", ["convnext", "owlvit", "swinv2"])
def test_a_dtype_is_that_of_all_weights(save: Save, model_type: str, dtype: str) -> None:
    saved = save(model_type)
    wanted = getattr(torch, dtype)
    tower = saved.checkpoint.vision.load(saved.checkpoint.weights(wanted))
    assert {parameter.dtype for parameter in tower.parameters()} == {wanted}
    pixels = pixels_of(saved.pixel_format.size)
    expected = vectors_of_images(saved.model, normalize(pixels)).numpy()
    vectors = encoded(saved.backend(dtype=dtype), pixels)
    np.testing.assert_allclose(vectors, expected, atol=0.1 * np.abs(expected).max())


def test_each_tower_keeps_its_own_weights_only(save: Save) -> None:
    saved = save("owlvit")
    checkpoint, numbers = saved.checkpoint, saved.checkpoint.weights(torch.float32)
    images, texts = checkpoint.vision.load(numbers), checkpoint.text.load(numbers)
    assert not [name for name, _ in images.named_parameters() if "text_" in name]
    assert not [name for name, _ in texts.named_parameters() if "visi" in name]


def test_positions_that_roberta_keeps_for_the_padding_are_no_room_for_tokens(save: Save) -> None:
    roberta = {"model_type": "roberta", "hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
    roberta |= {"intermediate_size": 40, "vocab_size": VOCABULARY, "max_position_embeddings": 14}
    saved = save("vision-text-dual-encoder", text_config=roberta)
    backend = saved.text_backend()
    assert backend.max_length == 12
    token_ids = np.full((1, 12), 5)
    expected = vectors_of_texts(saved.model, {"input_ids": torch.from_numpy(token_ids)}).numpy()
    check_equal(backend(token_ids, None, device="cpu"), expected)


def test_a_model_of_images_only_has_no_text_tower(save: Save) -> None:
    with pytest.raises(CheckpointError, match="transformers' ConvNextModel has no text tower"):
        save("convnext").text_backend()


def test_a_tensor_that_is_missing_is_an_error(save: Save) -> None:
    saved = save("convnext")
    change_weights(saved.folder, lambda tensors: {key: tensors[key] for key in tensors if key != "layernorm.weight"})
    with pytest.raises(
        CheckpointError, match=r"the weights lack 'layernorm\.weight', which transformers' ConvNextModel"
    ):
        saved.backend()


def test_a_running_mean_that_is_missing_is_an_error(save: Save) -> None:
    saved = save("resnet")
    change_weights(
        saved.folder,
        lambda tensors: {key: tensors[key] for key in tensors if "encoder.stages.0" not in key or "mean" not in key},
    )
    with pytest.raises(CheckpointError, match=r"the weights lack '.*running_mean'"):
        saved.backend()


def test_a_file_that_was_saved_without_the_pooling_is_refused(save: Save) -> None:
    saved = save("deit", "DeiTForImageClassification")
    with pytest.raises(CheckpointError, match=r"the weights lack 'pooler\.dense\.\w+', which transformers' DeiTModel"):
        saved.backend()


def test_a_tensor_that_only_the_other_tower_needs_may_be_missing(save: Save) -> None:
    saved = save("owlvit")
    change_weights(
        saved.folder, lambda tensors: {key: tensors[key] for key in tensors if not key.startswith("text_model.")}
    )
    assert saved.backend().dimension == 16
    with pytest.raises(CheckpointError, match="the weights lack 'text_model"):
        saved.text_backend()


def test_a_tensor_of_another_shape_is_an_error(save: Save) -> None:
    saved = save("convnext")
    change_weights(saved.folder, lambda tensors: tensors | {"layernorm.weight": torch.ones(5)})
    with pytest.raises(CheckpointError, match=r"'layernorm\.weight' has another shape than \(32,\), which the config"):
        saved.backend()


def test_whole_numbers_in_the_place_of_weights_are_refused(save: Save) -> None:
    saved = save("convnext")
    change_weights(saved.folder, lambda tensors: tensors | {"layernorm.weight": torch.ones(32, dtype=torch.int8)})
    with pytest.raises(CheckpointError, match=r"'layernorm\.weight' is int8, of quantized weights"):
        saved.backend()


@pytest.mark.parametrize("name", ["layernorm.weight_scale", "layernorm.lora_A.default.weight"])
def test_numbers_that_would_be_left_out_are_refused(save: Save, name: str) -> None:
    saved = save("convnext")
    change_weights(saved.folder, lambda tensors: tensors | {name: torch.ones(1)})
    with pytest.raises(CheckpointError, match=f"would be left out: '{name}'"):
        saved.backend()


def test_a_damaged_file_is_an_error(save: Save) -> None:
    saved = save("convnext")
    file = saved.folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged or cut short"):
        saved.backend()


def test_weights_that_are_a_pickle_are_refused(save: Save) -> None:
    saved = save("convnext")
    (saved.folder / "model.safetensors").rename(saved.folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="the weights are a pickle only"):
        saved.backend()


def test_a_config_that_makes_no_sense_is_an_error(save: Save) -> None:
    saved = save("swin")
    change(saved.folder, depths="deep")
    with pytest.raises(CheckpointError, match=r"config\.json is invalid"):
        _ = saved.checkpoint.vision


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_code_of_the_hub_that_a_config_names_is_not_fetched(save: Save, key: str) -> None:
    saved = save("deit")
    change(saved.folder, **{key: "somebody/kernels"})
    pixels = pixels_of(saved.pixel_format.size)
    expected = vectors_of_images(saved.model, normalize(pixels)).numpy()
    check_equal(encoded(saved.backend(), pixels), expected)


def test_a_model_with_code_of_its_own_is_refused(save: Save) -> None:
    saved = save("convnext")
    change(saved.folder, auto_map={"AutoModel": "modeling.Model"})
    with pytest.raises(CheckpointError, match="needs code of its own"):
        _ = saved.checkpoint.vision


def test_a_quantised_model_is_refused(save: Save) -> None:
    saved = save("convnext")
    change(saved.folder, quantization_config={"quant_method": "bitsandbytes"})
    with pytest.raises(CheckpointError, match="quantized by bitsandbytes"):
        _ = saved.checkpoint.vision


def test_a_network_that_comes_from_elsewhere_by_its_name_is_refused(save: Save) -> None:
    saved = save("dpt")
    change(saved.folder, backbone="microsoft/resnet-50", use_pretrained_backbone=True)
    with pytest.raises(CheckpointError, match="not supported"):
        _ = saved.checkpoint.vision


def test_a_config_of_timm_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18", "num_features": 512}))
    with pytest.raises(CheckpointError, match="describes timm's 'resnet18'"):
        _ = open_checkpoint(tmp_path).vision


def test_loading_changes_nothing_around_it(save: Save) -> None:
    def around() -> tuple[Any, ...]:
        return (
            torch.get_default_dtype(),
            torch.initial_seed(),
            torch.get_rng_state().tolist(),
            transformers.logging.get_verbosity(),
            transformers.logging.is_progress_bar_enabled(),
            {name: value for name, value in vars(torch.nn.init).items() if callable(value)},
            torch.nn.Module.register_parameter,
        )

    saved = save("groupvit")
    before = around()
    saved.backend(dtype="bfloat16")
    saved.text_backend()
    assert around() == before


def test_loading_says_nothing(save: Save, capfd: pytest.CaptureFixture[str]) -> None:
    saved = save("convnext", CLASSIFIERS["convnext"])  # whose head has no use here
    capfd.readouterr()
    saved.backend()
    assert capfd.readouterr() == ("", "")


def test_what_other_threads_say_meanwhile_is_heard() -> None:
    # With a handler of its own: transformers 4 passes nothing on to others'.
    logger, heard = logging.getLogger("transformers.modeling_utils"), SimpleQueue[logging.LogRecord]()
    handler = QueueHandler(heard)
    logger.addHandler(handler)
    with ThreadPoolExecutor(1) as pool, silence():
        logger.warning("of this thread")
        pool.submit(logger.warning, "of another thread").result()
    logger.warning("afterwards")
    logger.removeHandler(handler)
    assert [heard.get().getMessage() for _ in range(heard.qsize())] == ["of another thread", "afterwards"]


def test_several_threads_load_at_a_time(save: Save) -> None:
    saved = [save(model_type) for model_type in ("convnext", "swin", "beit", "resnet")] * 3
    before = {name: value for name, value in vars(torch.nn.init).items() if callable(value)}
    with ThreadPoolExecutor(4) as threads:
        backends = list(threads.map(lambda each: each.backend(), saved))
    assert {name: value for name, value in vars(torch.nn.init).items() if callable(value)} == before
    for each, backend in zip(saved, backends, strict=True):
        pixels = pixels_of(each.pixel_format.size)
        expected = vectors_of_images(each.model, normalize(pixels)).numpy()
        check_equal(encoded(backend, pixels), expected)


def test_a_caller_who_wants_gradients_or_none_changes_nothing(save: Save) -> None:
    saved = save("convnext")
    pixels = pixels_of(saved.pixel_format.size)
    expected = encoded(saved.backend(), pixels)
    for context in (torch.inference_mode, torch.enable_grad, partial(torch.device, "meta")):
        with context():
            backend = saved.backend()
        np.testing.assert_array_equal(encoded(backend, pixels), expected)
