"""TextEncoder as an object: what it loads, refuses, shares and leaves alone."""

from __future__ import annotations

import logging
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from clip_image_encoder.backends import _torch_text
from clip_image_encoder.errors import CheckpointError, ConfigurationError
from clip_image_encoder.text import TextEncoder
from tests.programs.training import tokenizer

from .conftest import Saved
from .tokenizer_files import WORDS

TEXTS = ["a red circle", "the blue star on the red circle", "a"]


@pytest.mark.parametrize("name", ["clip", "siglip", "siglip2", "siglip2_fixed"])
def test_only_the_text_towers_tensors_are_read(save: Callable[..., Saved], name: str, tmp_path: Path) -> None:
    saved = save(name)
    folder = tmp_path / "text-only"
    shutil.copytree(saved.folder, folder)
    tensors = load_file(folder / "model.safetensors")
    text = {key: tensor for key, tensor in tensors.items() if key.startswith("text_")}
    assert len(text) < len(tensors)
    save_file(text, folder / "model.safetensors")
    np.testing.assert_allclose(TextEncoder(folder, device="cpu").encode(TEXTS), saved.reference(TEXTS), atol=1e-5)


def test_only_the_shards_that_hold_the_text_tower_are_needed(save: Callable[..., Saved]) -> None:
    saved = save("clip", max_shard_size="8KB")
    reference = saved.reference(TEXTS)
    for shard in saved.folder.glob("*.safetensors"):
        if all(key.startswith("vis") for key in load_file(shard)):
            shard.unlink()
    np.testing.assert_allclose(TextEncoder(saved.folder, device="cpu").encode(TEXTS), reference, atol=1e-5)


@pytest.mark.parametrize("name", ["dinov2", "vit"])
def test_a_checkpoint_without_text_tower_is_refused(save: Callable[..., Saved], name: str) -> None:
    with pytest.raises(CheckpointError, match=f"(?i)this {name} checkpoint has no text tower"):
        TextEncoder(save(name).folder)


def test_a_checkpoint_without_tokenizer_is_refused_before_the_weights_are_read(clip: Saved, tmp_path: Path) -> None:
    shutil.copy(clip.folder / "config.json", tmp_path)
    with pytest.raises(CheckpointError, match=r"the tokenizer's files are missing"):
        TextEncoder(tmp_path)


def test_the_tokenizer_may_be_another_checkpoints(clip: Saved, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        shutil.copy(clip.folder / name, tmp_path)
    encoder = TextEncoder(tmp_path, tokenizer=clip.folder, device="cpu")
    np.testing.assert_allclose(encoder.encode(TEXTS), clip.reference(TEXTS), atol=1e-5)
    restored = pickle.loads(pickle.dumps(encoder))
    np.testing.assert_array_equal(restored.encode(TEXTS), encoder.encode(TEXTS))


def test_texts_may_be_cut_earlier_than_the_tower_ends(clip: Saved) -> None:
    encoder = TextEncoder(clip.folder, max_length=4, device="cpu")
    one, two = encoder.encode(["a red circle", "a red star"])
    np.testing.assert_array_equal(one, two)
    assert encoder.fingerprint != TextEncoder(clip.folder, device="cpu").fingerprint


def test_texts_are_never_longer_than_the_tower_reads(clip: Saved) -> None:
    long = ["a red circle " * 50]
    expected = TextEncoder(clip.folder, device="cpu").encode(long)
    np.testing.assert_array_equal(TextEncoder(clip.folder, max_length=10_000, device="cpu").encode(long), expected)


@pytest.mark.parametrize("max_length", [0, -1, 2.5, "5"])
def test_a_length_that_leaves_no_token_is_refused(clip: Saved, max_length: int) -> None:
    with pytest.raises(ConfigurationError, match="max_length"):
        TextEncoder(clip.folder, max_length=max_length)


@pytest.mark.parametrize("content", ["", "{}", '{"model": 3}'])
def test_a_damaged_tokenizer_is_refused(clip: Saved, tmp_path: Path, content: str) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        shutil.copy(clip.folder / name, tmp_path)
    (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(CheckpointError, match="the tokenizer can't be loaded"):
        TextEncoder(tmp_path)


def test_a_tokenizer_of_vocabulary_and_merges_gives_the_same_vectors(clip: Saved, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    shutil.copytree(clip.folder, folder)
    (folder / "tokenizer.json").unlink()
    np.testing.assert_allclose(TextEncoder(folder, device="cpu").encode(TEXTS), clip.reference(TEXTS), atol=1e-5)


def test_a_tokenizers_own_code_is_never_executed(clip: Saved, tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(clip.folder, folder)
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["mine.Mine", "mine.Mine"]}}')
    mark = tmp_path / "mark"
    (folder / "mine.py").write_text(f"import pathlib\npathlib.Path({str(mark)!r}).touch()\nclass Mine: pass\n")
    TextEncoder(folder)
    assert not mark.exists()


@pytest.mark.parametrize("dtype", ["int8", "floaty"])
def test_a_dtype_that_torch_has_not_is_refused_before_the_weights_are_read(
    clip: Saved, dtype: str, tmp_path: Path
) -> None:
    shutil.copy(clip.folder / "config.json", tmp_path)
    with pytest.raises(ConfigurationError, match="auto, float32, float16, bfloat16"):
        TextEncoder(tmp_path, tokenizer=clip.folder, dtype=dtype)


def test_a_device_that_is_not_there_is_refused_before_the_weights_are_read(clip: Saved, tmp_path: Path) -> None:
    shutil.copy(clip.folder / "config.json", tmp_path)
    with pytest.raises(ConfigurationError, match=r"no device 'gpu7'.*cpu"):
        TextEncoder(tmp_path, tokenizer=clip.folder, device="gpu7")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_points_the_same_way(clip: Saved, encoder: TextEncoder, dtype: str) -> None:
    half = TextEncoder(clip.folder, dtype=dtype, device="cpu").encode(TEXTS)
    exact = encoder.encode(TEXTS)
    assert half.dtype == np.float32
    assert not np.array_equal(half, exact)
    assert (half * exact).sum(axis=1).min() > 0.999


def test_the_fingerprint_is_that_of_what_decides_the_vectors(
    clip: Saved, encoder: TextEncoder, save: Callable[..., Saved], tmp_path: Path
) -> None:
    shutil.copytree(clip.folder, tmp_path / "copy")
    assert TextEncoder(tmp_path / "copy", device="cpu", dtype="float32").fingerprint == encoder.fingerprint
    assert TextEncoder(clip.folder, device="cpu", dtype="float16").fingerprint != encoder.fingerprint
    assert TextEncoder(save("clip_text").folder, device="cpu").fingerprint != encoder.fingerprint


def test_auto_means_one_dtype_on_every_device(clip: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where there is no GPU, a second name of the CPU stands for one.
    monkeypatch.setattr(_torch_text, "torch_devices", lambda: ("cpu", "cpu:0"))
    monkeypatch.setattr(
        _torch_text, "dtype_on", lambda device, _: torch.float16 if device == "cpu:0" else torch.float32
    )
    encoder = TextEncoder(clip.folder, device="cpu")
    # In float16 they would be a thousandth apart.
    np.testing.assert_allclose(encoder.encode(TEXTS, device="cpu:0"), encoder.encode(TEXTS), atol=1e-6)


def test_another_tokenizer_is_another_fingerprint(clip: Saved, encoder: TextEncoder, tmp_path: Path) -> None:
    shutil.copytree(clip.folder, tmp_path / "copy")
    tokenizer.save(tokenizer.build(word[::-1] for word in WORDS), tmp_path / "copy")
    for other in (
        TextEncoder(tmp_path / "copy", device="cpu"),
        TextEncoder(clip.folder, tokenizer=tmp_path / "copy", device="cpu"),
    ):
        assert not np.allclose(other.encode(TEXTS), encoder.encode(TEXTS), atol=1e-3)
        assert other.fingerprint != encoder.fingerprint
    same = TextEncoder(tmp_path / "copy", tokenizer=clip.folder, device="cpu")
    np.testing.assert_array_equal(same.encode(TEXTS), encoder.encode(TEXTS))
    assert same.fingerprint == encoder.fingerprint


@pytest.mark.parametrize("name", ["tokenizer.json", "model.safetensors"])
def test_files_that_are_replaced_after_loading_leave_the_encoder_without_a_fingerprint(
    clip: Saved, tmp_path: Path, name: str
) -> None:
    shutil.copytree(clip.folder, tmp_path / "copy")
    encoder = TextEncoder(tmp_path / "copy", device="cpu")
    (tmp_path / "copy" / name).write_bytes((clip.folder / name).read_bytes() + b" ")
    with pytest.raises(CheckpointError, match=f"{name} has changed since it was first read"):
        _ = encoder.fingerprint


def test_a_pickle_gives_the_same_vectors_and_carries_no_weights(each: Saved) -> None:
    encoder = TextEncoder(each.folder, device="cpu")
    pickled = pickle.dumps(encoder)
    assert len(pickled) < 10_000 < (each.folder / "model.safetensors").stat().st_size
    restored = pickle.loads(pickled)
    np.testing.assert_array_equal(restored.encode(TEXTS), encoder.encode(TEXTS))
    assert restored.fingerprint == encoder.fingerprint


def test_several_threads_get_what_one_gets(encoder: TextEncoder) -> None:
    lists = [[TEXTS[0]], TEXTS, ["a " * 40], TEXTS[::-1]] * 8
    expected = [encoder.encode(texts) for texts in lists]
    with ThreadPoolExecutor(8) as pool:
        for vectors, alone in zip(pool.map(encoder.encode, lists), expected, strict=True):
            np.testing.assert_allclose(vectors, alone, atol=1e-6)


def test_torchs_global_state_is_left_alone(clip: Saved) -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.get_rng_state().tolist(),
            torch.get_default_dtype(),
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            logging.getLogger("transformers").level,
        )

    before = state()
    TextEncoder(clip.folder).encode(TEXTS)
    assert state() == before


def test_loading_and_encoding_say_nothing_in_any_family(each: Saved, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    TextEncoder(each.folder).encode([*TEXTS, "a blue star " * 100])
    assert capfd.readouterr() == ("", "")


def test_a_new_process_says_nothing(clip: Saved) -> None:
    program = (
        "import sys, logging\n"
        "logging.basicConfig(level=logging.WARNING)\n"
        "from clip_image_encoder.text import TextEncoder\n"
        "TextEncoder(sys.argv[1]).encode(['a star', 'a red circle ' * 100])\n"
    )
    command = [sys.executable, "-W", "always", "-c", program, str(clip.folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
