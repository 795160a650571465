"""What loading reads from the files, and what it leaves as it was."""

from __future__ import annotations

import gc
import json
import logging
import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from transformers import CLIPConfig, CLIPModel

from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.errors import CheckpointError
from tests.units.text.tokenizer_files import write_clip

from .conftest import Saved
from .families import PIXEL_FORMAT


class ReadLog:
    """Stands in for `safe_open`, and notes what is opened and read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.opened: set[str] = set()
        self.tensors: set[str] = set()
        log, safe_open = self, safetensors.safe_open

        class Recording:
            def __init__(self, path: Path, framework: str) -> None:
                log.opened.add(path.name)
                self._reader: Any = safe_open(path, framework=framework)

            def __enter__(self) -> Recording:
                self._reader.__enter__()
                return self

            def __exit__(self, *error: object) -> None:
                self._reader.__exit__(*error)

            def keys(self) -> list[str]:
                return list(self._reader.keys())

            def get_tensor(self, name: str) -> torch.Tensor:
                log.tensors.add(name)
                tensor: torch.Tensor = self._reader.get_tensor(name)
                return tensor

        monkeypatch.setattr(safetensors, "safe_open", Recording)


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> ReadLog:
    return ReadLog(monkeypatch)


@pytest.mark.parametrize("name", ["clip", "siglip", "siglip2"])
def test_only_the_vision_towers_tensors_are_read(save: Callable[..., Saved], name: str, log: ReadLog) -> None:
    save(name).backend()
    assert log.tensors
    assert {tensor.partition(".")[0] for tensor in log.tensors} <= {"vision_model", "visual_projection"}


def test_a_classifiers_head_is_not_read(save: Callable[..., Saved], log: ReadLog) -> None:
    save("vit_classifier").backend()
    assert not [tensor for tensor in log.tensors if not tensor.startswith("vit.")]


def test_a_file_without_text_tower_loads_like_one_with_it(clip: Saved, tmp_path: Path) -> None:
    tensors = load_file(clip.folder / "model.safetensors")
    vision = {name: tensor for name, tensor in tensors.items() if name.startswith("vis")}
    assert len(vision) < len(tensors)
    save_file(vision, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((clip.folder / "config.json").read_bytes())
    backend = TorchBackend(open_checkpoint(tmp_path), pixel_format=PIXEL_FORMAT)
    assert backend.dimension == 16


def test_the_text_tower_is_not_built(clip: Saved, tmp_path: Path) -> None:
    config = json.loads((clip.folder / "config.json").read_text())
    config["text_config"]["hidden_size"] = -1  # no such module can be made
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((clip.folder / "model.safetensors").read_bytes())
    assert TorchBackend(open_checkpoint(tmp_path), pixel_format=PIXEL_FORMAT).dimension == 16


PEAK = """
import re, sys
from pathlib import Path
import torch, transformers.models.clip.modeling_clip
from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.backends import torch as ours
from clip_image_encoder.checkpoint import _weights

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) // 1024

before = peak()
{"vision": ImageEncoder, "text": TextEncoder}[sys.argv[1]](sys.argv[2], device="cpu")
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process the most memory that it had")
@pytest.mark.parametrize("kind", ["vision", "text"])
def test_loading_takes_little_more_memory_than_the_tower(kind: str, tmp_path: Path) -> None:
    wide = {"hidden_size": 1024, "intermediate_size": 4096, "num_attention_heads": 16}
    layers = {"vision": 1, "text": 1} | {kind: 6}
    config = CLIPConfig(
        vision_config={**wide, "num_hidden_layers": layers["vision"]},
        text_config={**wide, "num_hidden_layers": layers["text"], "vocab_size": 50_000},
    )
    with torch.device("meta"):
        model = CLIPModel(config)
    model.to_empty(device="cpu")
    model.save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text('{"size": 224}')
    write_clip(tmp_path)
    tower = sum(parameter.nbytes for parameter in getattr(model, f"{kind}_model").parameters()) // 2**20
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PEAK, kind, tmp_path], capture_output=True, text=True, check=True
    )
    assert tower > 290
    assert int(ran.stdout) < tower + 200  # twice the tower, if the file or the layers stayed in memory


@pytest.mark.parametrize("kind", [ImageEncoder, TextEncoder])
def test_an_encoder_that_is_gone_has_freed_its_weights(kind: Callable[..., Any]) -> None:
    kind("tiny-shapes", device="cpu")  # transformers' own modules stay with the first one, for once
    gc.disable()
    try:
        encoder = kind("tiny-shapes", device="cpu")
        weight = weakref.ref(next(encoder.backend._towers.on("cpu").parameters()))
        del encoder
        assert weight() is None
    finally:
        gc.enable()


def test_a_sharded_checkpoint_gives_what_the_whole_one_gives(
    save: Callable[..., Saved], pixels: NDArray[np.uint8]
) -> None:
    whole, sharded = save("clip"), save("clip", max_shard_size="8KB")
    assert not (sharded.folder / "model.safetensors").exists()
    assert len(list(sharded.folder.glob("*.safetensors"))) > 3
    expected = whole.backend()(pixels, output="pooled", device="cpu")
    np.testing.assert_array_equal(sharded.backend()(pixels, output="pooled", device="cpu"), expected)


def test_only_the_shards_that_hold_the_tower_are_opened(save: Callable[..., Saved], log: ReadLog) -> None:
    sharded = save("clip", max_shard_size="8KB")
    index = json.loads((sharded.folder / "model.safetensors.index.json").read_text())["weight_map"]
    needed = {shard for tensor, shard in index.items() if tensor.startswith("vis")}
    assert needed < set(index.values())
    sharded.backend()
    assert log.opened == needed


def test_float16_files_become_float32_weights(clip: Saved, tmp_path: Path, pixels: NDArray[np.uint8]) -> None:
    for folder, dtype in ((tmp_path / "half", torch.float16), (tmp_path / "full", torch.float32)):
        folder.mkdir()
        tensors = load_file(clip.folder / "model.safetensors")
        save_file({name: tensor.half().to(dtype) for name, tensor in tensors.items()}, folder / "model.safetensors")
        (folder / "config.json").write_bytes((clip.folder / "config.json").read_bytes())
    half, full = (
        TorchBackend(open_checkpoint(tmp_path / name), pixel_format=PIXEL_FORMAT, device="cpu")(
            pixels, output="pooled", device="cpu"
        )
        for name in ("half", "full")
    )
    np.testing.assert_array_equal(half, full)


def test_a_changed_file_does_not_change_a_loaded_backend(save: Callable[..., Saved], pixels: NDArray[np.uint8]) -> None:
    saved = save("vit")
    backend = saved.backend()
    before = backend(pixels, output="pooled", device="cpu")
    file = saved.folder / "model.safetensors"
    with file.open("r+b") as opened:
        opened.seek(file.stat().st_size // 2)
        opened.write(bytes(file.stat().st_size // 4))
    np.testing.assert_array_equal(backend(pixels, output="pooled", device="cpu"), before)


def test_torchs_global_state_is_left_alone(clip: Saved, pixels: NDArray[np.uint8]) -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.get_rng_state().tolist(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.get_default_device(),
            torch.are_deterministic_algorithms_enabled(),
            logging.getLogger().level,
            logging.getLogger("transformers").level,
            dict(os.environ),
        )

    before = state()
    clip.backend()(pixels, output="tokens", device="cpu")
    assert state() == before


def test_loading_in_the_middle_of_somebodys_training_is_fine(clip: Saved, pixels: NDArray[np.uint8]) -> None:
    expected = clip.backend()(pixels, output="pooled", device="cpu")
    torch.set_default_dtype(torch.float64)
    try:
        vectors = clip.backend()(pixels, output="pooled", device="cpu")
    finally:
        torch.set_default_dtype(torch.float32)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_every_family_loads_without_a_word(each: Saved, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    each.backend()
    assert capfd.readouterr() == ("", "")


def test_a_missing_tensor_is_named(clip: Saved, tmp_path: Path) -> None:
    tensors = load_file(clip.folder / "model.safetensors")
    del tensors["vision_model.post_layernorm.weight"]
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((clip.folder / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"lack 'vision_model.post_layernorm.weight'"):
        TorchBackend(open_checkpoint(tmp_path), pixel_format=PIXEL_FORMAT)


def test_a_tensor_of_another_shape_is_named(clip: Saved, tmp_path: Path) -> None:
    tensors = load_file(clip.folder / "model.safetensors")
    tensors["visual_projection.weight"] = torch.zeros(7, 24)
    save_file(tensors, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_bytes((clip.folder / "config.json").read_bytes())
    with pytest.raises(CheckpointError, match=r"'visual_projection.weight' has shape \(7, 24\).*\(16, 24\)"):
        TorchBackend(open_checkpoint(tmp_path), pixel_format=PIXEL_FORMAT)
