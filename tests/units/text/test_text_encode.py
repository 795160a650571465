"""Texts to vectors: the numbers, the shapes and the order."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.text import TextEncoder

from .conftest import LENGTH, Saved

TEXTS = ["a red circle", "", "the blue star on the red circle", "Zürich, 東京 🙂", "a"]


def test_vectors_are_those_of_transformers(each: Saved) -> None:
    vectors = TextEncoder(each.folder, device="cpu").encode(TEXTS)
    np.testing.assert_allclose(vectors, each.reference(TEXTS), atol=1e-5)


def test_different_texts_have_different_vectors(each: Saved) -> None:
    texts = ["a red circle", "the blue star on the red circle", "Zürich, 東京 🙂", "a"]
    vectors = TextEncoder(each.folder, device="cpu").encode(texts)
    assert (vectors @ vectors.T - np.eye(len(texts))).max() < 0.9999


def test_a_string_becomes_one_vector(encoder: TextEncoder) -> None:
    vector = encoder.encode("a red circle")
    assert vector.shape == (encoder.dimension,) == (16,)
    np.testing.assert_allclose(vector, encoder.encode(["a red circle"])[0], atol=1e-6)


@pytest.mark.parametrize("many", [list, tuple, iter, np.array, lambda texts: (text for text in texts)])
def test_many_strings_become_a_row_each_in_their_order(encoder: TextEncoder, many: Callable[..., Any]) -> None:
    vectors = encoder.encode(many(TEXTS))
    assert vectors.shape == (5, 16)
    np.testing.assert_allclose(vectors, [encoder.encode(text) for text in TEXTS], atol=1e-5)


@pytest.mark.parametrize("none", [[], (), iter([])])
def test_no_strings_become_no_rows(encoder: TextEncoder, none: Any) -> None:
    vectors = encoder.encode(none)
    assert vectors.shape == (0, 16)
    assert vectors.dtype == np.float32


def test_vectors_are_contiguous_float32_of_length_one(each: Saved) -> None:
    vectors = TextEncoder(each.folder).encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_normalize_false_gives_the_models_own_numbers(encoder: TextEncoder) -> None:
    raw, unit = (encoder.encode(TEXTS, normalize=normalize) for normalize in (False, True))
    norms = np.linalg.norm(raw, axis=1, keepdims=True)
    assert np.abs(norms - 1).min() > 0.01
    np.testing.assert_allclose(raw / norms, unit, atol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_a_vector_does_not_depend_on_its_batch(each: Saved, batch_size: int) -> None:
    encoder = TextEncoder(each.folder, device="cpu")
    np.testing.assert_allclose(encoder.encode(TEXTS, batch_size=batch_size), encoder.encode(TEXTS), atol=1e-5)


@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), max_size=5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_text_has_a_vector(encoder: TextEncoder, texts: list[str]) -> None:
    vectors = encoder.encode(texts, batch_size=2)
    assert vectors.shape == (len(texts), 16)
    assert np.isfinite(vectors).all()


def test_long_texts_are_cut_at_the_towers_end(each: Saved) -> None:
    encoder = TextEncoder(each.folder, device="cpu")
    longest = " ".join(["red"] * 2 * LENGTH)
    np.testing.assert_allclose(encoder.encode(longest + " blue star" * 500), encoder.encode(longest), atol=1e-6)
    assert np.abs(encoder.encode(longest) - encoder.encode("red")).max() > 1e-3


@pytest.mark.parametrize("texts", [b"a red circle", {"a": 1}, {"a", "b"}, None, 3])
def test_what_is_no_text_is_refused(encoder: TextEncoder, texts: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"not {type(texts).__name__}"):
        encoder.encode(texts)


@pytest.mark.parametrize("item", [None, 3, b"a star", ["a star"], np.float32(1)])
def test_an_item_that_is_no_text_is_named_by_its_place(encoder: TextEncoder, item: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"text 2 must be a string, not {type(item).__name__}"):
        encoder.encode(["a", "b", item])


def test_half_of_a_character_is_refused_and_named_by_its_place(encoder: TextEncoder) -> None:
    with pytest.raises(ConfigurationError, match=r"text 1 .*surrogate"):
        encoder.encode(["a star", "a \ud83d star"])


@pytest.mark.parametrize("batch_size", [0, -1, 1.5, "3", True])
def test_a_batch_size_that_is_no_number_of_texts_is_refused(encoder: TextEncoder, batch_size: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=re.escape(f"batch_size must be a positive integer, not {batch_size!r}")
    ):
        encoder.encode(["a"], batch_size=batch_size)


def test_a_device_that_is_not_there_is_refused(encoder: TextEncoder) -> None:
    with pytest.raises(ConfigurationError, match=r"no device 'gpu7'.*cpu"):
        encoder.encode("a", device="gpu7")


def test_a_stream_shows_its_progress_where_that_is_wanted(
    encoder: TextEncoder, capsys: pytest.CaptureFixture[str]
) -> None:
    for show in (False, True):
        list(encoder.stream(TEXTS, 2, show_progress=show))
        shown = capsys.readouterr().err
        assert ["5/5" in shown, "text/s" in shown] == [show, show]
