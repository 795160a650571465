"""What the integrations encode images and texts with: the settings hold for both."""

from __future__ import annotations

import numpy as np
import pytest

from clip_image_encoder import ConfigurationError, TextEncoder
from clip_image_encoder.integrations._encoders import Encoders

TEXTS = ["a red circle", "a blue star"]


def test_texts_are_encoded_in_the_dtype_of_the_images() -> None:
    vectors = Encoders(model="tiny-shapes", device="cpu", dtype="bfloat16").encode_texts(TEXTS)
    expected = TextEncoder("tiny-shapes", device="cpu", dtype="bfloat16").encode(TEXTS)
    np.testing.assert_array_equal(vectors, expected)


def test_texts_are_encoded_by_the_backend_of_the_images() -> None:
    pytest.importorskip("openvino")  # which the session of the integrations goes without
    encoders = Encoders(model="tiny-shapes", backend="openvino", device="cpu", dtype="int8")
    expected = TextEncoder("tiny-shapes", backend="openvino", device="cpu", dtype="int8").encode(TEXTS)
    np.testing.assert_allclose(encoders.encode_texts(TEXTS), expected, atol=1e-6)


def test_a_backend_that_does_not_exist_is_refused_for_texts_too() -> None:
    with pytest.raises(ConfigurationError, match="no backend 'onyx'"):
        Encoders(model="tiny-shapes", backend="onyx").encode_texts(TEXTS)
