"""Text towers as torch runs them on the CPU: the vectors of the plain towers, of less work."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from clip_image_encoder.backends import _cpu
from clip_image_encoder.backends._cpu import PackedLinear, make_texts_quick
from clip_image_encoder.backends._torch_text import TorchText
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.models import TextTower
from clip_image_encoder.text import TextEncoder
from tests.units.checkpoint.open_clip_files import MODEL_CFG
from tests.units.checkpoint.open_clip_files import save as save_open_clip

from .conftest import LENGTH, Saved

TEXTS = ["a red circle", "", "the blue star on the red circle", "a"]
CAUSAL = ["clip", "clip_text", "clipseg", "metaclip2", "metaclip2_text"]
WITHOUT_ONEDNN = not torch.backends.mkldnn.is_available()
needs_onednn = pytest.mark.skipif(WITHOUT_ONEDNN, reason="this build of torch has no oneDNN")
needs_bfloat16 = pytest.mark.skipif(
    WITHOUT_ONEDNN or not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="oneDNN has no bfloat16 here"
)

Made = Callable[..., TextTower]


def plain_tower(folder: Path, dtype: torch.dtype = torch.float32) -> TextTower:
    checkpoint = open_checkpoint(folder)
    return checkpoint.text.load(checkpoint.weights(dtype))


def tokens_of(folder: Path) -> tuple[Tensor, Tensor | None]:
    token_ids, mask = TextEncoder(folder, device="cpu").tokenizer(TEXTS)
    return torch.from_numpy(token_ids), None if mask is None else torch.from_numpy(mask)


@pytest.fixture
def made_quick(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Loads a tower and makes it quick, as on a processor where packed layers are faster, whatever its size."""
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(_cpu, "_WORTH_IT", 0)

    def make(folder: Path, dtype: torch.dtype = torch.float32) -> TextTower:
        tower = plain_tower(folder, dtype)
        make_texts_quick(tower)
        return tower

    return make


@needs_onednn
@torch.inference_mode()
def test_a_quick_tower_is_packed_and_gives_the_plain_ones_vectors(each: Saved, made_quick: Made) -> None:
    plain, quick, (token_ids, mask) = plain_tower(each.folder), made_quick(each.folder), tokens_of(each.folder)
    torch.testing.assert_close(quick(token_ids, mask), plain(token_ids, mask), rtol=1e-5, atol=1e-5)
    kinds = {type(module) for module in quick.modules()}
    assert PackedLinear in kinds
    assert nn.Linear not in kinds


@pytest.mark.parametrize("name", CAUSAL)
@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("is_masked", [True, False])
@torch.inference_mode()
def test_padding_to_full_length_on_either_side_changes_nothing_else(
    save: Callable[..., Saved], name: str, side: str, is_masked: bool
) -> None:
    folder = save(name).folder
    token_ids, mask = tokens_of(folder)
    assert mask is not None
    room = LENGTH - token_ids.shape[1]
    assert room > 1
    ends = (room, 0) if side == "left" else (0, room)
    token_ids, mask = (nn.functional.pad(each, ends) for each in (token_ids, mask))
    plain, quick = plain_tower(folder), plain_tower(folder)
    make_texts_quick(quick)
    given = mask if is_masked else None
    torch.testing.assert_close(quick(token_ids, given), plain(token_ids, given), rtol=1e-5, atol=1e-5)


@torch.inference_mode()
def test_the_end_of_a_text_is_the_highest_id_in_older_clips(clip: Saved, tmp_path: Path) -> None:
    shutil.copytree(clip.folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 2
    (tmp_path / "config.json").write_text(json.dumps(config))
    plain, quick, (token_ids, mask) = plain_tower(tmp_path), plain_tower(tmp_path), tokens_of(tmp_path)
    make_texts_quick(quick)
    torch.testing.assert_close(quick(token_ids, mask), plain(token_ids, mask), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["siglip", "siglip2"])
@torch.inference_mode()
def test_a_mask_is_kept_to_where_all_tokens_see_each_other(save: Callable[..., Saved], name: str) -> None:
    folder = save(name).folder
    token_ids, _ = tokens_of(folder)
    mask = torch.ones_like(token_ids)
    mask[0, 2:4] = 0
    plain, quick = plain_tower(folder), plain_tower(folder)
    make_texts_quick(quick)
    torch.testing.assert_close(quick(token_ids, mask), plain(token_ids, mask), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(quick(token_ids, mask)[0], quick(token_ids, None)[0], atol=1e-3)


@pytest.mark.parametrize(
    "text",
    [
        {"pool_type": "argmax"},
        {"pool_type": "eos", "eos_id": 3},
        {"pool_type": "first"},
        {"pool_type": "last"},
        {"pool_type": "last", "no_causal_mask": True},
        {"pool_type": "first", "no_causal_mask": True, "proj_type": "none"},
    ],
)
@torch.inference_mode()
def test_open_clips_poolings_give_the_plain_towers_vectors(text: dict[str, Any], tmp_path: Path) -> None:
    save_open_clip(tmp_path, {**MODEL_CFG, "text_cfg": {**MODEL_CFG["text_cfg"], **text}})
    plain, quick = plain_tower(tmp_path), plain_tower(tmp_path)
    make_texts_quick(quick)
    token_ids = torch.tensor([[5, 9, 3, 0, 0, 0], [5, 8, 7, 9, 3, 0]])
    torch.testing.assert_close(quick(token_ids, None), plain(token_ids, None), rtol=1e-5, atol=1e-5)


def shapes_at(tower: TextTower, layer: int) -> list[tuple[int, ...]]:
    """Return the list to which the shape of what the MLP of a layer is given comes at each call."""
    model: Any = tower.model
    mlp = getattr(model, "text_model", model).encoder.layers[layer].mlp
    shapes: list[tuple[int, ...]] = []
    mlp.register_forward_pre_hook(lambda _module, given: shapes.append(tuple(given[0].shape)))
    return shapes


@pytest.mark.parametrize(("name", "read"), [("clip", 4), ("siglip", LENGTH)])
def test_an_encoder_computes_no_more_tokens_than_its_vectors_depend_on(
    save: Callable[..., Saved], name: str, read: int
) -> None:
    """Up to the last end of text in a batch, where none sees a later one; in the last layer that one alone."""
    encoder = TextEncoder(save(name).folder, device="cpu")
    tower = encoder.backend._towers.on("cpu")  # type: ignore[attr-defined]  # what it runs
    first, last = shapes_at(tower, 0), shapes_at(tower, -1)
    token_ids, mask = encoder.tokenizer(["a red", "red"])
    padded = [np.pad(given, ((0, 0), (0, LENGTH - given.shape[1]))) for given in (token_ids, mask) if given is not None]
    encoder.backend(padded[0], padded[1] if mask is not None else None, device="cpu")
    width = tower.model.config.hidden_size
    assert first == [(2, read, width)]
    assert last == [(2, 1, width)]


@needs_bfloat16
@torch.inference_mode()
def test_a_quick_tower_points_the_same_way_in_bfloat16(each: Saved, made_quick: Made) -> None:
    exact, quick = plain_tower(each.folder), made_quick(each.folder, torch.bfloat16)
    tokens = tokens_of(each.folder)
    assert nn.functional.cosine_similarity(quick(*tokens).float(), exact(*tokens)).min() > 0.99


@needs_onednn
def test_threads_share_a_packed_tower(clip: Saved, made_quick: Made) -> None:
    tower, tokens = made_quick(clip.folder), tokens_of(clip.folder)

    def vectors(_: int) -> Tensor:
        with torch.inference_mode():
            found: Tensor = tower(*tokens)
        return found

    with ThreadPoolExecutor(4) as threads:
        first, *others = threads.map(vectors, range(12))
    assert all(torch.equal(first, other) for other in others)


def test_towers_of_others_code_keep_their_layers(clip: Saved, made_quick: Made) -> None:
    checkpoint = open_checkpoint(clip.folder)
    checkpoint.__dict__["text"] = replace(checkpoint.text, through="another package")
    tower = TorchText(checkpoint=checkpoint, dtype=torch.float32).load("cpu")
    assert not any(isinstance(module, PackedLinear) for module in tower.modules())
    assert not isinstance(tower.vectors, partial)
