"""What each pooling makes of a backend's features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clip_image_encoder import ClassTokenPooling, ConfigurationError, MeanPatchesPooling, PretrainedPooling


@pytest.fixture
def tokens() -> NDArray[np.float32]:
    """Two pictures of a class token and nine patches."""
    return np.random.default_rng(0).normal(size=(2, 1 + 9, 4)).astype(np.float32)


def test_the_pretrained_pooling_hands_on_what_the_backend_pooled() -> None:
    vectors = np.ones((2, 4), np.float32)
    assert PretrainedPooling()(vectors) is vectors
    assert PretrainedPooling().reads == "pooled"


def test_the_class_token_is_the_first_of_the_tokens(tokens: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(ClassTokenPooling()(tokens), tokens[:, 0])
    assert ClassTokenPooling().reads == "tokens"


def test_the_mean_of_the_patches_leaves_the_class_token_out(tokens: NDArray[np.float32]) -> None:
    pooled = MeanPatchesPooling()(tokens)
    np.testing.assert_allclose(pooled, tokens[:, 1:].mean(axis=1), atol=1e-6)
    assert pooled.dtype == np.float32
    assert MeanPatchesPooling().reads == "tokens"


def test_without_a_class_token_every_patch_counts(tokens: NDArray[np.float32]) -> None:
    patches = tokens[:, 1:]
    np.testing.assert_allclose(MeanPatchesPooling()(patches), patches.mean(axis=1), atol=1e-6)


def test_a_model_without_a_class_token_has_none_to_pool(tokens: NDArray[np.float32]) -> None:
    with pytest.raises(ConfigurationError, match="no class token"):
        ClassTokenPooling()(tokens[:, 1:])


@pytest.mark.parametrize(
    "pooling", [ClassTokenPooling(), MeanPatchesPooling()], ids=lambda pooling: type(pooling).__name__
)
def test_tokens_that_are_no_square_of_patches_are_refused(
    pooling: ClassTokenPooling | MeanPatchesPooling, tokens: NDArray[np.float32]
) -> None:
    with pytest.raises(ConfigurationError, match="7 tokens"):
        pooling(tokens[:, :7])
