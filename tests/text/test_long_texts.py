"""Texts of any length: as cheap as those that fit, and with the same tokens as the whole text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, models, normalizers, pre_tokenizers, trainers
from tokenizers import Tokenizer as RustTokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from clip_image_encoder import tiny_shapes as bundled
from clip_image_encoder.checkpoint._tokenizer import Tokenizer, enough_of
from clip_image_encoder.text import TextEncoder

from .conftest import Saved

UNKNOWN = "<unk>"
PIECES = [
    *("a", "ab", "the ", "Red ", "circle", "CIRCLE ", "'s ", "12", "1,000.50 ", "-", "!? ", "\t", "\n\n", "   "),
    *("漢", "字仮名", "한국", "ภาษา", "é", "e\u0301", "ß", "İ", "Σ", "ﬁ", "😀", "👩‍👩‍👧", "🇩🇪", "\u200d", "\x00"),
    *("<|endoftext|>", "</s>", "▁"),
]
SAMPLE = [
    "the red circle and the blue star on a green square",
    "CIRCLE 12 1,000.50 's",
    "漢字仮名 한국 ภาษา",
    "é ß 😀 👩‍👩‍👧",
] * 9


def clip() -> Tokenizer:
    """CLIP's own, as it is bundled: byte pairs within words that a pattern splits, lower case."""
    load: Any = AutoTokenizer.from_pretrained
    return cast("Tokenizer", load(Path(bundled.__file__).parent / "checkpoint"))


def wrapped(tokenizer: RustTokenizer) -> Tokenizer:
    return cast("Tokenizer", PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="</s>"))  # noqa: S106 - no secret


def unigram() -> Tokenizer:
    """SigLIP's kind: the likeliest pieces of each word."""
    tokenizer = RustTokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=[UNKNOWN, AddedToken("</s>")], unk_token=UNKNOWN, show_progress=False
    )
    tokenizer.train_from_iterator(SAMPLE, trainer)
    return wrapped(tokenizer)


def unsplit_pairs() -> Tokenizer:
    """SigLIP 2's kind: byte pairs of the whole text, which is one word to it."""
    tokenizer = RustTokenizer(models.BPE(byte_fallback=True, unk_token=UNKNOWN))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[UNKNOWN, "</s>", *(f"<0x{byte:02X}>" for byte in range(256))],
        show_progress=False,
    )
    tokenizer.train_from_iterator(SAMPLE, trainer)
    return wrapped(tokenizer)


TOKENIZERS = {"clip": clip(), "unigram": unigram(), "unsplit pairs": unsplit_pairs()}


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
    start = enough_of(text, tokenizer, max_length)
    ours, whole = (tokenizer(read, truncation=True, max_length=max_length)["input_ids"] for read in (start, text))
    assert ours == whole


@pytest.mark.parametrize("piece", ["a red circle on the blue ", "abcdefghij", "漢字仮名交じり文", "👩‍👩‍👧😀", "= "])
@pytest.mark.parametrize("name", TOKENIZERS)
def test_a_megabyte_is_not_tokenised(name: str, piece: str) -> None:
    assert len(enough_of(piece * 100_000, TOKENIZERS[name], 77)) < 20_000


def test_an_encoder_gives_its_tokenizer_enough_of_each_text(clip: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    load: Callable[..., Any] = AutoTokenizer.from_pretrained

    def recording(*arguments: Any, **options: Any) -> Any:
        tokenizer = load(*arguments, **options)

        class Recording(type(tokenizer)):  # type: ignore[misc]  # a class that is known when it runs
            def __call__(self, text: str | list[str], /, **settings: Any) -> Any:
                read.extend(map(len, [text] if isinstance(text, str) else text))
                return super().__call__(text, **settings)

        tokenizer.__class__ = Recording
        return tokenizer

    monkeypatch.setattr(AutoTokenizer, "from_pretrained", recording)
    texts = ["a red circle", "the blue star on the red circle " * 30_000, " " * 30_000 + "a star"]
    vectors = TextEncoder(clip.folder, device="cpu").encode(texts)
    assert sum(read) < 200_000
    np.testing.assert_allclose(vectors, clip.reference(texts), atol=1e-5)


def test_a_tokenizer_that_keeps_the_end_of_a_text_gets_all_of_it() -> None:
    load: Any = AutoTokenizer.from_pretrained
    tokenizer = load(Path(bundled.__file__).parent / "checkpoint", truncation_side="left")
    assert enough_of("a red circle " * 5_000, tokenizer, 77) == "a red circle " * 5_000
