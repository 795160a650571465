"""What each pooling makes of a backend's features."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from clip_image_encoder import ClassTokenPooling, MeanPatchesPooling, PretrainedPooling


@pytest.fixture
def prefix() -> NDArray[np.float32]:
    """A class token and four register tokens of two images."""
    return np.random.default_rng(0).normal(size=(2, 1 + 4, 4)).astype(np.float32)


@pytest.fixture
def patches() -> NDArray[np.float32]:
    """Nine patches of two images."""
    return np.random.default_rng(0).normal(size=(2, 9, 4)).astype(np.float32)


def test_the_pretrained_pooling_hands_on_what_the_backend_pooled() -> None:
    vectors = np.ones((2, 4), np.float32)
    assert PretrainedPooling()(vectors) is vectors
    assert PretrainedPooling().reads == "pooled"


def test_the_class_token_is_the_first_before_the_patches(prefix: NDArray[np.float32]) -> None:
    np.testing.assert_array_equal(ClassTokenPooling()(prefix), prefix[:, 0])
    assert ClassTokenPooling().reads == "prefix"


def test_the_mean_counts_every_patch(patches: NDArray[np.float32]) -> None:
    pooled = MeanPatchesPooling()(patches)
    np.testing.assert_allclose(pooled, patches.mean(axis=1), atol=1e-6)
    assert pooled.dtype == np.float32
    assert MeanPatchesPooling().reads == "patches"
