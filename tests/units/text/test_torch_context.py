"""What a program has set in torch decides nothing about a text's vector."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.models._towers import build
from clip_image_encoder.text import TextEncoder

from .conftest import Saved

TEXTS = ["a red circle", "the blue star on the red circle"]


@contextmanager
def default_device() -> Iterator[None]:
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


def autocast() -> AbstractContextManager[object]:
    return torch.autocast("cpu", dtype=torch.bfloat16)


@pytest.mark.parametrize("context", [default_device, default_dtype, autocast])
def test_an_encoder_loads_and_encodes_in_a_context_of_its_own(
    each: Saved, context: Callable[[], AbstractContextManager[object]]
) -> None:
    encoder = TextEncoder(each.folder, device="cpu")
    expected = encoder.encode(TEXTS)
    with context():
        np.testing.assert_array_equal(encoder.encode(TEXTS), expected)
        np.testing.assert_array_equal(TextEncoder(each.folder, device="cpu").encode(TEXTS), expected)


def test_weights_are_loaded_onto_the_cpu_whatever_the_default_device(clip: Saved) -> None:
    config = CLIPVisionConfig(**clip.model.config.vision_config.to_dict())
    with default_device():
        model = build(lambda: CLIPVisionModel(config))
        tower = getattr(model, "vision_model", model)
        open_checkpoint(clip.folder).weights(torch.float32).fill(tower, prefixes=("vision_model.",))
    assert {tensor.device.type for tensor in (*tower.parameters(), *tower.buffers())} == {"cpu"}
