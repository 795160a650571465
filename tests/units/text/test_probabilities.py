"""What a score means: the probabilities that the checkpoint's own classifier gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clip_image_encoder import ConfigurationError, ImageEncoder, TextEncoder

from .conftest import Saved

TEXTS = ["a red circle", "the blue star", "on the red circle"]


def vectors(seed: int, count: int, dimension: int) -> NDArray[np.float32]:
    noise = np.random.default_rng(seed).normal(size=(count, dimension))
    unit: NDArray[np.float32] = (noise / np.linalg.norm(noise, axis=1, keepdims=True)).astype(np.float32)
    return unit


@pytest.mark.parametrize("name", ["clip", "siglip", "siglip2"])
def test_probabilities_are_those_of_the_checkpoints_own_classifier(save: Callable[..., Saved], name: str) -> None:
    saved = save(name)
    encoder = TextEncoder(saved.folder, device="cpu")
    images, texts = vectors(1, 4, encoder.dimension), encoder.encode(TEXTS)
    with torch.inference_mode():
        model: Any = saved.model
        logits = torch.from_numpy(images @ texts.T) * model.logit_scale.exp()
        # As CLIPModel and SiglipModel compute them.
        expected = logits.softmax(dim=1) if name == "clip" else torch.sigmoid(logits + model.logit_bias)
    np.testing.assert_allclose(encoder.probabilities(images, texts), expected.numpy(), atol=1e-5)


def test_the_numbers_are_the_checkpoints(save: Callable[..., Saved]) -> None:
    for name in ("clip", "siglip"):
        saved = save(name)
        encoder = TextEncoder(saved.folder, device="cpu")
        assert encoder.logit_scale == pytest.approx(saved.model.logit_scale.exp().item())
        bias = getattr(saved.model, "logit_bias", None)
        assert encoder.logit_bias == (None if bias is None else pytest.approx(bias.item()))


def test_one_image_or_one_text_lose_an_axis_as_elsewhere() -> None:
    texts = TextEncoder("tiny-shapes", device="cpu")
    images, labels = vectors(1, 4, 64), texts.encode(TEXTS)
    many = texts.probabilities(images, labels)
    assert many.shape == (4, 3)
    np.testing.assert_array_equal(texts.probabilities(images[0], labels), many[0])
    np.testing.assert_array_equal(texts.probabilities(images, labels[0]), np.ones((4, 1), np.float32))


def test_the_right_label_is_likely() -> None:
    from clip_image_encoder.tiny_shapes.draw import Scene, draw

    images, texts = ImageEncoder("tiny-shapes", device="cpu"), TextEncoder("tiny-shapes", device="cpu")
    labels = texts.encode(["a green heart", "a red star", "a blue ring"])
    likely = texts.probabilities(images.encode(draw(Scene(color="green", shape="heart"))), labels)
    assert likely.dtype == np.float32
    assert likely[0] > 0.9


def test_scores_of_any_size_are_probabilities(save: Callable[..., Saved]) -> None:
    encoder = TextEncoder(save("siglip").folder, device="cpu")
    huge = np.eye(2, encoder.dimension, dtype=np.float32) * 1e6
    likely = encoder.probabilities(huge, np.concatenate([huge, -huge]))
    np.testing.assert_allclose(likely[:, :2].diagonal(), 1)
    np.testing.assert_allclose(likely[:, 2:].diagonal(), 0)


def test_a_text_tower_that_was_saved_alone_can_not_say(save: Callable[..., Saved]) -> None:
    encoder = TextEncoder(save("clip_text").folder, device="cpu")
    assert encoder.logit_scale is None
    with pytest.raises(ConfigurationError, match="no logit_scale"):
        encoder.probabilities(vectors(1, 2, 16), vectors(2, 2, 16))


@pytest.mark.parametrize("shape", [(2, 63), (2, 2, 64), ()], ids=str)
def test_vectors_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match=r"\(n, d\) of images"):
        TextEncoder("tiny-shapes", device="cpu").probabilities(np.ones(shape, np.float32), np.ones((3, 64), np.float32))
