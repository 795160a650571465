"""The faster layers of the CPU: the same features, and nothing of them where they don't pay or aren't there."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clip_image_encoder.backends import _cpu
from clip_image_encoder.backends._cpu import PackedLinear, is_faster, make_quick, pack
from clip_image_encoder.models import VisionTower

from .conftest import Saved, tower_of

WITHOUT_ONEDNN = not torch.backends.mkldnn.is_available()
needs_onednn = pytest.mark.skipif(WITHOUT_ONEDNN, reason="this build of torch has no oneDNN")
needs_bfloat16 = pytest.mark.skipif(
    WITHOUT_ONEDNN or not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bfloat16 here"
)


@needs_onednn
@pytest.mark.parametrize("output", ["pooled", "tokens"])
def test_a_packed_tower_gives_the_same_features(each: Saved, output: str, pixels: NDArray[np.uint8]) -> None:
    plain, packed = tower_of(each), tower_of(each)
    with torch.inference_mode():
        pack(packed)
        images = torch.from_numpy(pixels)
        torch.testing.assert_close(packed(images, output), plain(images, output), rtol=1e-4, atol=1e-5)
    assert any(isinstance(module, PackedLinear) for module in packed.modules())


@needs_bfloat16
def test_a_packed_tower_points_the_same_way_in_bfloat16(clip: Saved, pixels: NDArray[np.uint8]) -> None:
    exact, packed = tower_of(clip), tower_of(clip, torch.bfloat16)
    with torch.inference_mode():
        pack(packed)
        images = torch.from_numpy(pixels)
        cosines = nn.functional.cosine_similarity(packed(images, "pooled").float(), exact(images, "pooled"))
    assert cosines.min() > 0.999


def test_every_family_points_the_same_way_in_bfloat16(each: Saved, pixels: NDArray[np.uint8]) -> None:
    exact, half = each.backend(), each.backend(dtype="bfloat16")
    for output in exact.outputs:
        one, two = (torch.from_numpy(backend(pixels, output=output, device="cpu")) for backend in (exact, half))
        assert nn.functional.cosine_similarity(one, two, dim=-1).min() > 0.995


def test_a_network_that_is_not_of_transformers_is_made_quick_in_bfloat16() -> None:
    network = nn.Linear(4, 4, dtype=torch.bfloat16)
    tower = VisionTower(network, lambda model, pixels, output: model(pixels), dimension=4)
    make_quick(tower)
    assert tower(torch.ones(1, 4, dtype=torch.bfloat16), "pooled").shape == (1, 4)


@needs_onednn
@pytest.mark.parametrize(("name", "activations"), [("clip", 2), ("siglip", 2 + 1), ("dinov2", 2)])
def test_the_activation_is_part_of_the_product(save: Callable[..., Saved], name: str, activations: int) -> None:
    """Of each of the two layers, and of SigLIP's head."""
    tower = tower_of(save(name))
    pack(tower)
    fused = [module.activation for module in tower.modules() if isinstance(module, PackedLinear)]
    assert sum(activation != "none" for activation in fused) == activations


@pytest.mark.parametrize(
    ("dtype", "capabilities"),
    [
        (torch.float32, {"AVX2", "AVX512"}),
        (torch.bfloat16, {"AVX512"}),
        (torch.float16, set()),
    ],
)
def test_packed_layers_are_faster_by_dtype_and_processor(dtype: torch.dtype, capabilities: set[str]) -> None:
    known = ["DEFAULT", "NO AVX", "AVX2", "AVX512", "SVE256", "VSX", "Z VECTOR"]
    assert {capability for capability in known if is_faster(dtype, capability)} == capabilities


Processor = Callable[[str], None]


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> Processor:
    """Lets torch name the instructions of another processor; every layer is large enough to gain from packing."""

    def set_capability(name: str) -> None:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: name)

    monkeypatch.setattr(_cpu, "_WORTH_IT", 0)
    return set_capability


def is_packed(tower: nn.Module) -> bool:
    return any(isinstance(module, PackedLinear) for module in tower.modules())


@needs_onednn
@pytest.mark.parametrize("slow", [(9, 1), (1, 9)], ids=["packed was slow", "plain was slow"])
@pytest.mark.parametrize(("capability", "packs"), [("AVX512", True), ("DEFAULT", False)])
def test_the_processor_decides_whatever_a_clock_says(
    clip: Saved,
    processor: Processor,
    monkeypatch: pytest.MonkeyPatch,
    slow: tuple[int, int],
    capability: str,
    packs: bool,
) -> None:
    ticks: Iterator[int] = itertools.accumulate(itertools.cycle([0, slow[0], 0, slow[1]]))
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    processor(capability)
    tower = tower_of(clip)
    make_quick(tower)
    assert is_packed(tower) == packs


def test_a_small_tower_stays_as_it_is(clip: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    tower = tower_of(clip)
    make_quick(tower)
    assert not is_packed(tower)


def test_where_torch_lacks_the_operators_the_tower_stays_as_it_is(
    clip: Saved, processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(self: PackedLinear, linear: nn.Linear, activation: str = "none", algorithm: str = "") -> None:
        raise AttributeError("'_OpNamespace' 'mkldnn' object has no attribute '_linear_pointwise'")

    processor("AVX512")
    monkeypatch.setattr(PackedLinear, "__init__", missing)
    tower = tower_of(clip)
    make_quick(tower)
    assert not is_packed(tower)


@needs_onednn
def test_layers_that_compute_something_else_are_not_taken(
    clip: Saved, processor: Processor, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(self: PackedLinear, inputs: Tensor) -> Tensor:
        return torch.zeros(*inputs.shape[:-1], len(self.bias))

    processor("AVX512")
    monkeypatch.setattr(PackedLinear, "forward", wrong)
    tower = tower_of(clip)
    make_quick(tower)
    assert not is_packed(tower)


def test_a_batch_that_passes_in_parts_gives_what_single_images_give(clip: Saved) -> None:
    pixels = np.random.default_rng(2).integers(0, 256, (_cpu.TOKENS_AT_ONCE // 16 * 2 + 3, 32, 32, 3), dtype=np.uint8)
    backend = clip.backend()
    vectors = backend(pixels, output="pooled", device="cpu")
    for place in (0, 99, 100, len(pixels) - 1):
        alone = backend(pixels[place : place + 1], output="pooled", device="cpu")
        np.testing.assert_allclose(vectors[place : place + 1], alone, atol=1e-6)
