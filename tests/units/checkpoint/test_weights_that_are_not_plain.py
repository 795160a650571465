"""Weights that mean something only together with other tensors, or that lack a part: refused, never loaded in part."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder import tiny_shapes as bundled
from clip_image_encoder.errors import CheckpointError

Tensors = dict[str, Tensor]
ENCODERS = [ImageEncoder, TextEncoder]
ORIGINAL = "use the checkpoint that it was made from, in float32, float16 or bfloat16"


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A copy of a small CLIP with both towers, for a test to change."""
    folder = tmp_path / "clip"
    shutil.copytree(Path(bundled.__file__).parent / "checkpoint", folder)
    return folder


def change(folder: Path, quantise: Callable[[Tensors, str], None]) -> None:
    """Quantise every linear layer of both towers, and say nothing of it in the config."""
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if name.endswith(("q_proj.weight", "fc1.weight"))]:
        quantise(tensors, name)
    save_file(tensors, folder / "model.safetensors")


def bitsandbytes_int8(tensors: Tensors, name: str) -> None:
    scale = tensors[name].abs().amax(dim=1)
    tensors[name] = (tensors[name] / scale[:, None] * 127).round().to(torch.int8)
    tensors[name.replace("weight", "SCB")] = scale
    tensors[name.replace("weight", "weight_format")] = torch.tensor(0, dtype=torch.uint8)


def bitsandbytes_int4(tensors: Tensors, name: str) -> None:
    tensors[f"{name}.absmax"] = torch.ones(tensors[name].numel() // 64)
    tensors[name] = torch.zeros(tensors[name].numel() // 2, 1, dtype=torch.uint8)


def fp8(tensors: Tensors, name: str) -> None:
    scale = tensors[name].abs().amax() / 448
    tensors[name] = (tensors[name] / scale).to(torch.float8_e4m3fn)
    tensors[f"{name}_scale"] = scale


def fp8_without_scales(tensors: Tensors, name: str) -> None:
    tensors[name] = tensors[name].to(torch.float8_e4m3fn)


def int8_without_scales(tensors: Tensors, name: str) -> None:
    tensors[name] = (tensors[name] * 100).to(torch.int8)


def gptq(tensors: Tensors, name: str) -> None:
    for part in ("qweight", "qzeros", "scales", "g_idx"):
        tensors[name.replace("weight", part)] = torch.zeros(1)
    del tensors[name]


def scaled_in_floats(tensors: Tensors, name: str) -> None:
    tensors[f"{name}_scale"] = torch.tensor(0.5)


def lora(tensors: Tensors, name: str) -> None:
    tensors[name.replace("weight", "lora_A.default.weight")] = torch.zeros(1)


def bias_of_a_layer_without(tensors: Tensors, name: str) -> None:
    for tower in ("visual", "text"):
        tensors[f"{tower}_projection.bias"] = torch.ones(64)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("quantise", [bitsandbytes_int8, bitsandbytes_int4, fp8])
def test_quantised_weights_are_refused(
    clip: Path, encoder: Callable[..., object], quantise: Callable[[Tensors, str], None]
) -> None:
    change(clip, quantise)
    with pytest.raises(CheckpointError, match=ORIGINAL):
        encoder(clip)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("quantise", [fp8_without_scales, int8_without_scales])
def test_weights_in_a_type_of_quantised_ones_are_refused(
    clip: Path, encoder: Callable[..., object], quantise: Callable[[Tensors, str], None]
) -> None:
    change(clip, quantise)
    with pytest.raises(CheckpointError, match=rf"weight' is (int8|float8_e4m3fn).*{ORIGINAL}"):
        encoder(clip)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("quantise", [scaled_in_floats, lora, bias_of_a_layer_without])
def test_a_tensor_beside_a_weight_that_would_be_left_out_is_refused(
    clip: Path, encoder: Callable[..., object], quantise: Callable[[Tensors, str], None]
) -> None:
    change(clip, quantise)
    with pytest.raises(CheckpointError, match=r"would be left out: '.*(weight_scale|lora_A.*|n.bias)'"):
        encoder(clip)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_packed_weights_are_missed_by_name_and_known_for_what_they_are(
    clip: Path, encoder: Callable[..., object]
) -> None:
    change(clip, gptq)
    with pytest.raises(CheckpointError, match=rf"lack '.*\.weight'; '.*' is there instead; {ORIGINAL}"):
        encoder(clip)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize("place", ["whole", "tower"])
def test_a_config_that_says_quantised_is_refused(clip: Path, encoder: Callable[..., object], place: str) -> None:
    config = json.loads((clip / "config.json").read_text())
    for part in [config] if place == "whole" else [config["text_config"], config["vision_config"]]:
        part["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (clip / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError, match=f"quantized by bitsandbytes.*{ORIGINAL}"):
        encoder(clip)


def test_the_tokenizer_of_a_quantised_checkpoint_may_be_taken(clip: Path) -> None:
    config = json.loads((clip / "config.json").read_text()) | {"quantization_config": {"quant_method": "gptq"}}
    (clip / "config.json").write_text(json.dumps(config))
    assert TextEncoder("tiny-shapes", tokenizer=clip).encode("a red circle").shape == (64,)


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    "name", ["adapter_config.json", "adapter_model.safetensors", "pytorch_lora_weights.safetensors"]
)
def test_an_adapter_beside_its_base_is_to_be_merged_first(
    clip: Path, encoder: Callable[..., object], name: str
) -> None:
    (clip / name).write_bytes(b"{}")
    with pytest.raises(CheckpointError, match=rf"{name} is an adapter.*merge_and_unload"):
        encoder(clip)


@pytest.mark.parametrize("model", ["CLIPModel", "CLIPVisionModelWithProjection"])
def test_a_clip_that_lacks_its_projection_is_incomplete(clip: Path, model: str) -> None:
    tensors = load_file(clip / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, clip / "model.safetensors")
    if model != "CLIPModel":
        become_vision_only(clip, [model])
    with pytest.raises(CheckpointError, match=r"the weights lack 'visual_projection\.weight'"):
        ImageEncoder(clip)


@pytest.mark.parametrize("architectures", [["CLIPVisionModel"], None])
def test_a_vision_tower_saved_without_projection_is_for_images_only(
    clip: Path, architectures: list[str] | None
) -> None:
    tensors = load_file(clip / "model.safetensors")
    del tensors["visual_projection.weight"]
    save_file(tensors, clip / "model.safetensors")
    become_vision_only(clip, architectures)
    assert ImageEncoder(clip).dimension == 128
    with pytest.raises(CheckpointError, match="no text tower"):
        TextEncoder(clip)


def become_vision_only(folder: Path, architectures: list[str] | None) -> None:
    config = json.loads((folder / "config.json").read_text())
    vision = config["vision_config"] | {"model_type": "clip_vision_model", "architectures": architectures}
    (folder / "config.json").write_text(json.dumps(vision | {"projection_dim": config["projection_dim"]}))
