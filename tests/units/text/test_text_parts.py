"""A text encoder is made of a tokenizer and a text backend, each of which may be another."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest

from clip_image_encoder import BackendError, ConfigurationError, ContractError, TextEncoder
from clip_image_encoder.arrays import TokenIds, Vectors
from clip_image_encoder.backends.torch import TorchTextBackend

from .conftest import Saved

TEXTS = ["a red circle", "the blue star", "on the red circle", "a", "blue"]


@dataclass(frozen=True, kw_only=True)
class Lengths:
    """A text backend without a model: a vector of how often each of four numbers comes, and of which device it was."""

    dimension: int = 5
    devices: Sequence[str] = ("first", "second")
    max_length: int = 8
    room: int = 100
    asked: list[tuple[str, int]] = field(default_factory=list)

    def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
        self.asked.append((device, len(token_ids)))
        if len(token_ids) > self.room:
            raise MemoryError("out of memory")
        counts = np.stack([(token_ids == number).sum(axis=1) for number in range(4)], axis=1)
        return np.concatenate([counts, np.ones((len(token_ids), 1))], axis=1).astype(np.float32)


def letters(texts: Sequence[str], /) -> tuple[TokenIds, None]:
    """A tokenizer of the first eight letters."""
    return np.array([[ord(letter) % 4 for letter in text.ljust(8)[:8]] for text in texts], np.int64), None


def endless() -> Iterator[str]:
    return (f"{number} red circles" for number in itertools.count())


def test_a_list_of_devices_splits_the_work() -> None:
    backend = Lengths()
    encoder = TextEncoder(backend=backend, tokenizer=letters, device=["first", "second"])
    split = encoder.encode(TEXTS, batch_size=1)
    assert len(backend.asked) == len(TEXTS)
    np.testing.assert_array_equal(split, encoder.encode(TEXTS, batch_size=1, device="first"))


def test_texts_of_about_one_length_pass_together() -> None:
    lengths: list[list[int]] = []

    def noted(texts: Sequence[str], /) -> tuple[TokenIds, None]:
        lengths.append([len(text) for text in texts])
        return letters(texts)

    texts = ["a" * length for length in (9, 1, 8, 2, 7, 3)]
    vectors = TextEncoder(backend=Lengths(), tokenizer=noted).encode(texts, batch_size=2)
    assert lengths == [[1, 2], [3, 7], [8, 9]]
    alone = [TextEncoder(backend=Lengths(), tokenizer=letters).encode(text) for text in texts]
    np.testing.assert_array_equal(vectors, alone)


def test_a_text_without_a_sound_vector_is_named_by_its_number_in_the_call() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Spoilt(Lengths):
        def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
            vectors = Lengths.__call__(self, token_ids, attention_mask, device=device)
            vectors[(token_ids == ord("x") % 4).all(axis=1)] = np.nan
            return vectors

    def first_letter(texts: Sequence[str], /) -> tuple[TokenIds, None]:
        return np.array([[ord(text[0]) % 4] * 8 for text in texts], np.int64), None

    with pytest.raises(BackendError, match="NaN or infinity for text 1"):
        TextEncoder(backend=Spoilt(), tokenizer=first_letter).encode(["aaa", "x", "aa"])


def test_a_stream_gives_the_vectors_of_encode_batch_by_batch(encoder: TextEncoder) -> None:
    batches = list(encoder.stream(iter(TEXTS), batch_size=2))
    assert [(batch.start, len(batch.embeddings)) for batch in batches] == [(0, 2), (2, 2), (4, 1)]
    np.testing.assert_allclose(
        np.concatenate([batch.embeddings for batch in batches]), encoder.encode(TEXTS), atol=1e-6
    )


def test_a_stream_of_endless_texts_draws_no_more_than_it_needs(encoder: TextEncoder) -> None:
    drawn = 0

    def counted() -> Iterator[str]:
        nonlocal drawn
        for text in endless():
            drawn += 1
            yield text

    stream = encoder.stream(counted(), batch_size=2)
    next(stream)
    stream.close()
    assert drawn == 2


def test_a_wrong_text_in_a_stream_comes_after_the_batches_before_it(encoder: TextEncoder) -> None:
    stream = encoder.stream(["a", "red", 7], batch_size=2)  # type: ignore[list-item]  # as a user might
    assert len(next(stream).embeddings) == 2
    with pytest.raises(ConfigurationError, match="text 2 must be a string, not int"):
        next(stream)


def test_a_wrong_text_is_found_before_the_first_is_encoded() -> None:
    backend = Lengths()
    with pytest.raises(ConfigurationError, match="text 4"):
        TextEncoder(backend=backend, tokenizer=letters).encode([*TEXTS[:4], 7], batch_size=1)  # type: ignore[list-item]  # as a user might
    assert backend.asked == []


def test_arguments_of_a_stream_are_checked_at_the_call(encoder: TextEncoder) -> None:
    with pytest.raises(ConfigurationError, match="batch_size"):
        encoder.stream(TEXTS, batch_size=0)
    with pytest.raises(ConfigurationError, match="no device"):
        encoder.stream(TEXTS, device="tpu")


def test_half_as_many_texts_are_tried_where_the_memory_runs_out() -> None:
    small, large = Lengths(room=2), Lengths()
    vectors = TextEncoder(backend=small, tokenizer=letters).encode(TEXTS)
    np.testing.assert_array_equal(vectors, TextEncoder(backend=large, tokenizer=letters).encode(TEXTS))
    assert [count for _, count in small.asked] == [5, 3, 2, 2, 1]


def test_one_text_that_is_too_much_is_a_backend_error() -> None:
    with pytest.raises(BackendError, match="Lengths: first is out of memory with a single text"):
        TextEncoder(backend=Lengths(room=0), tokenizer=letters).encode(TEXTS)


def test_a_backend_that_breaks_its_protocol_is_named() -> None:
    class Doubled(Lengths):
        def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
            doubled: Any = np.ones((len(token_ids), 5), np.float64)
            return doubled  # type: ignore[no-any-return]  # on purpose

    with pytest.raises(ContractError, match="Doubled returned float64"):
        TextEncoder(backend=Doubled(), tokenizer=letters).encode(TEXTS)


def test_a_configured_text_backend_is_one_expression(clip: Saved) -> None:
    plain = TextEncoder(clip.folder, device="cpu")
    loaded = TextEncoder(clip.folder, backend=partial(TorchTextBackend), device="cpu")
    np.testing.assert_array_equal(loaded.encode(TEXTS), plain.encode(TEXTS))
    assert loaded.fingerprint == plain.fingerprint


def test_the_parts_can_be_read_and_called_alone(encoder: TextEncoder) -> None:
    token_ids, mask = encoder.tokenizer(TEXTS)
    vectors = encoder.backend(token_ids, mask, device="cpu")
    np.testing.assert_allclose(vectors, encoder.encode(TEXTS, normalize=False), atol=1e-6)


def test_another_encoders_parts_make_an_encoder(encoder: TextEncoder) -> None:
    again = TextEncoder(backend=encoder.backend, tokenizer=encoder.tokenizer)
    np.testing.assert_array_equal(again.encode(TEXTS), encoder.encode(TEXTS))
    assert again.fingerprint == encoder.fingerprint
    assert pickle.loads(pickle.dumps(again)).fingerprint == encoder.fingerprint


@pytest.mark.parametrize("extra", [{"model": "tiny-shapes"}, {"dtype": "float16"}, {"revision": "main"}], ids=str)
def test_a_backend_instance_refuses_what_would_load_another(extra: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="loaded already"):
        TextEncoder(backend=Lengths(), tokenizer=letters, **extra)


@pytest.mark.parametrize("tokenizer", [None, "tiny-shapes"])
def test_a_backend_instance_comes_with_its_tokenizer(tokenizer: str | None) -> None:
    with pytest.raises(ConfigurationError, match="comes with its tokenizer"):
        TextEncoder(backend=Lengths(), tokenizer=tokenizer)


def test_a_backend_instance_leaves_the_length_to_its_tokenizer() -> None:
    with pytest.raises(ConfigurationError, match="leave out max_length"):
        TextEncoder(backend=Lengths(), tokenizer=letters, max_length=3)


def test_a_runtime_without_text_towers_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("clip_image_encoder.backends.onnx.load_text")
    with pytest.raises(ConfigurationError, match="backend 'onnx' runs no text towers; use backend='torch'"):
        TextEncoder("tiny-shapes", backend="onnx")
