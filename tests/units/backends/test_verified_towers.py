"""Towers in other dtypes and on other devices: one known image and one known text show whether they compute soundly."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from huggingface_hub import constants

from clip_image_encoder import BackendError, ImageEncoder, TextEncoder
from clip_image_encoder.backends import _torch_text, _torch_vision, find_backend, find_text_backend
from clip_image_encoder.backends._reference import REFERENCE_TEXT, reference_pixels
from clip_image_encoder.backends._verification import Verification, is_exact
from clip_image_encoder.checkpoint import open_checkpoint

KINDS = [ImageEncoder, TextEncoder]
TOWERS = {ImageEncoder: (_torch_vision.TorchVision, "features"), TextEncoder: (_torch_text.TorchText, "vectors")}
LOADS: dict[Any, Callable[..., Any]] = {
    ImageEncoder: partial(find_backend("torch"), verify=False),  # type: ignore[call-arg]  # TorchBackend's own
    TextEncoder: partial(find_text_backend("torch"), verify=False),  # type: ignore[call-arg]  # likewise
}


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkpoint that this process has not loaded yet, and an empty folder for what is kept."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "home"))
    shutil.copytree(open_checkpoint("tiny-shapes").files.path("config.json").parent, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


@pytest.fixture
def negate(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Let bfloat16 towers give the opposite of what they should."""

    def change(kind: Any) -> None:
        tower, name = TOWERS[kind]
        computed = getattr(tower, name)

        def wrong(self: Any, *arguments: Any, **settings: Any) -> Any:
            vectors = computed(self, *arguments, **settings)
            return -vectors if self.dtype == torch.bfloat16 else vectors

        monkeypatch.setattr(tower, name, wrong)

    return change


def references(checkpoint: Path) -> list[Path]:
    return sorted((checkpoint.parent / "home").rglob("reference.npz"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_tower_that_gives_wrong_numbers_is_an_error_with_both_figures(
    kind: Any, checkpoint: Path, negate: Callable[[Any], None]
) -> None:
    negate(kind)
    with pytest.raises(BackendError, match=r"on cpu .* is -(1\.0|0\.9)\d+, and bfloat16 has to reach 0\.9900"):
        kind(checkpoint, dtype="bfloat16", device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_what_failed_once_is_compared_again(kind: Any, checkpoint: Path, negate: Callable[[Any], None]) -> None:
    negate(kind)
    for _ in range(2):
        with pytest.raises(BackendError, match="its cosine to the expected one is"):
            kind(checkpoint, dtype="bfloat16", device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_the_comparison_can_be_left_out(kind: Any, checkpoint: Path, negate: Callable[[Any], None]) -> None:
    negate(kind)
    kind(checkpoint, backend=LOADS[kind], dtype="bfloat16", device="cpu")
    assert references(checkpoint) == []


@pytest.mark.parametrize("kind", KINDS)
def test_float32_on_the_cpu_is_what_others_are_compared_with(
    kind: Any, checkpoint: Path, negate: Callable[[Any], None]
) -> None:
    kind(checkpoint, device="cpu")
    assert references(checkpoint) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_reference_is_kept_on_disk_and_asked_for_once_in_a_process(
    kind: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    check = Verification.check

    def watched(self: Verification, run: Callable[..., Any]) -> None:
        made.append(self.device)
        check(self, run)

    monkeypatch.setattr(Verification, "check", watched)
    for _ in range(2):
        kind(checkpoint, dtype="bfloat16", device="cpu")
    assert (made, len(references(checkpoint))) == (["cpu"], 1)


def test_the_reference_is_the_vector_that_float32_gives(checkpoint: Path) -> None:
    ImageEncoder(checkpoint, dtype="bfloat16", device="cpu")
    TextEncoder(checkpoint, dtype="bfloat16", device="cpu")
    stored = [dict(np.load(file)) for file in references(checkpoint)]
    images, texts = ImageEncoder(checkpoint, device="cpu"), TextEncoder(checkpoint, device="cpu")
    expected = [
        images.encode(reference_pixels((64, 64)), normalize=False)[0],
        texts.encode(REFERENCE_TEXT, normalize=False),
    ]
    for vector in expected:
        assert any(np.allclose(each["arr_0"], vector, rtol=1e-3, atol=1e-5) for each in stored)


def test_other_weights_in_the_same_place_have_a_reference_of_their_own(checkpoint: Path) -> None:
    ImageEncoder(checkpoint, dtype="bfloat16", device="cpu")
    weights = checkpoint / "model.safetensors"
    weights.write_bytes(weights.read_bytes())
    ImageEncoder(checkpoint, dtype="bfloat16", device="cpu")
    assert len(references(checkpoint)) == 2


def test_where_nothing_can_be_kept_the_comparison_is_made_all_the_same(
    checkpoint: Path, negate: Callable[[Any], None]
) -> None:
    (checkpoint.parent / "home").write_text("a file, not a folder")
    ImageEncoder(checkpoint, dtype="bfloat16", device="cpu")
    negate(TextEncoder)
    with pytest.raises(BackendError, match="its cosine to the expected one is"):
        TextEncoder(checkpoint, dtype="bfloat16", device="cpu")


@pytest.mark.parametrize("kind", KINDS)
def test_a_dtype_that_a_device_can_not_compute_in_is_an_error_at_construction(
    kind: Any, checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tower, name = TOWERS[kind]
    computed = getattr(tower, name)

    def fails(self: Any, *arguments: Any, **settings: Any) -> Any:
        if self.dtype == torch.bfloat16:
            raise NotImplementedError('"addmm" not implemented')
        return computed(self, *arguments, **settings)

    monkeypatch.setattr(tower, name, fails)
    with pytest.raises(BackendError, match="can't run in bfloat16 on cpu: NotImplementedError"):
        kind(checkpoint, dtype="bfloat16", device="cpu")


@pytest.mark.parametrize(
    ("device", "dtype", "exact"),
    [("cpu", "float32", True), ("cpu", "bfloat16", False), ("cuda:0", "float32", False), ("mps", "float16", False)],
)
def test_whatever_is_not_float32_on_the_cpu_is_in_doubt(device: str, dtype: str, exact: bool) -> None:
    assert is_exact(device, dtype) is exact
