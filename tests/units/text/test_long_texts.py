"""Texts of any length: as cheap as those that fit, and with the same tokens as the whole text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_image_encoder.checkpoint._tokenizer import enough_of
from clip_image_encoder.models import TextTokenizer, TokenizerFiles
from clip_image_encoder.models._byte_pairs import byte_pairs
from clip_image_encoder.models._siglip_texts import siglip_texts
from clip_image_encoder.models._tokens import FastTokenizer
from clip_image_encoder.text import TextEncoder

from .conftest import Saved
from .tokenizer_files import write_clip, write_siglip, write_siglip2

PIECES = [
    *("a", "ab", "the ", "Red ", "circle", "CIRCLE ", "'s ", "12", "1,000.50 ", "-", "!? ", "\t", "\n\n", "   "),
    *("漢", "字仮名", "한국", "ภาษา", "é", "e\u0301", "ß", "İ", "Σ", "ﬁ", "😀", "👩‍👩‍👧", "🇩🇪", "\u200d", "\x00"),
    *("<|endoftext|>", "</s>", "▁"),
]


def tokenizer(
    write: Callable[[Path], None], make: Callable[[TokenizerFiles], TextTokenizer | None], **settings: Any
) -> TextTokenizer:
    with TemporaryDirectory() as folder:
        write(Path(folder))
        made = make(TokenizerFiles(paths={path.name: path for path in Path(folder).iterdir()}, settings=settings))
    assert made is not None
    return made


TOKENIZERS = {
    "clip": tokenizer(write_clip, byte_pairs),
    "siglip": tokenizer(write_siglip, siglip_texts),
    "siglip 2": tokenizer(write_siglip2, siglip_texts),
}


def long_texts() -> st.SearchStrategy[str]:
    """Texts of some thousand characters, with and without words that are longer than what stays whole."""
    part = st.tuples(st.sampled_from(PIECES), st.sampled_from([1, 1, 1, 2, 7, 400]))
    mixture = st.lists(part, min_size=1, max_size=8).map(lambda parts: "".join(piece * times for piece, times in parts))
    length = st.integers(1_500, 4_000) | st.integers(17_000, 20_000)
    return st.tuples(mixture, length, st.text(max_size=30)).map(
        lambda drawn: (drawn[0] * (drawn[1] // len(drawn[0]) + 1))[: drawn[1]] + drawn[2]
    )


@pytest.mark.parametrize("name", TOKENIZERS)
@given(text=long_texts(), max_length=st.sampled_from([3, 16, 77]))
@settings(max_examples=60, deadline=None)
def test_enough_of_a_text_has_the_tokens_of_all_of_it(name: str, text: str, max_length: int) -> None:
    tokenizer = TOKENIZERS[name]
    assert tokenizer(enough_of(text, tokenizer, max_length), max_length) == tokenizer(text, max_length)


@pytest.mark.parametrize(
    ("name", "piece"),
    [
        (name, piece)
        for name in TOKENIZERS
        for piece in ("a red circle on the blue ", "abcdefghij", "漢字仮名交じり文", "👩‍👩‍👧😀", "= ")
        if (name, piece) != ("siglip", "= ")  # punctuation becomes no token
    ],
)
def test_a_megabyte_is_not_tokenised(name: str, piece: str) -> None:
    assert len(enough_of(piece * 100_000, TOKENIZERS[name], 77)) < 20_000


def test_an_encoder_gives_its_tokenizer_enough_of_each_text(clip: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    tokenize = FastTokenizer.__call__

    def recorded(tokenizer: FastTokenizer, text: str, max_length: int) -> list[int]:
        read.append(len(text))
        return tokenize(tokenizer, text, max_length)

    monkeypatch.setattr(FastTokenizer, "__call__", recorded)
    texts = ["a red circle", "the blue star on the red circle " * 30_000, " " * 30_000 + "a star"]
    vectors = TextEncoder(clip.folder, device="cpu").encode(texts)
    assert sum(read) < 200_000
    np.testing.assert_allclose(vectors, clip.reference(texts), atol=1e-5)


@pytest.mark.parametrize(("write", "make"), [(write_clip, byte_pairs), (write_siglip, siglip_texts)])
def test_a_tokenizer_that_keeps_the_end_of_a_text_gets_all_of_it(write: Any, make: Any) -> None:
    left = tokenizer(write, make, truncation_side="left")
    text = "a red circle " * 5_000 + "a star"
    assert enough_of(text, left, 77) == text
    assert left(text, 8)[-3:] == left("a star", 8)[-3:]
