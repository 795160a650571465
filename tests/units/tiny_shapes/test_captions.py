"""Captions: what people type."""

import numpy as np
import pytest

from clip_image_encoder.tiny_shapes.draw import COLORS, HELD_OUT, SHAPES, Scene
from tests.programs.training import captions
from tests.programs.training.lessons import lesson
from tests.programs.training.tokenizer import build


def heart(*, background: str | None = None, size: float = 0.5) -> Scene:
    """A pink heart."""
    return Scene(color="pink", shape="heart", background=background, size=size, seed=0)


def test_all_88_pairs_have_a_plain_caption() -> None:
    """No two alike."""
    assert len(set(captions.all_captions().values())) == len(COLORS) * len(SHAPES) == 88


@pytest.mark.parametrize(("color", "text"), [("red", "a red star"), ("orange", "an orange star")])
def test_the_article_fits_the_color(color: str, text: str) -> None:
    """An before a vowel."""
    assert captions.caption(color, "star") == text


def test_wordings_vary_and_name_color_and_shape() -> None:
    """In whatever order."""
    generator = np.random.default_rng(0)
    texts = {captions.pair_wording("red", "circle", generator) for _ in range(300)}
    assert len(texts) > 25
    assert {"a red circle", "red circle", "a photo of a red circle", "a circle that is red"} <= texts
    assert all("red" in text and "circle" in text for text in texts)


def test_grey_is_also_spelt_gray() -> None:
    """On the other side of the ocean."""
    generator = np.random.default_rng(0)
    texts = {captions.color_wording("grey", generator) for _ in range(100)}
    assert {"grey", "gray"} <= texts


def test_a_plain_background_may_be_named() -> None:
    """Only where it has a name."""
    generator = np.random.default_rng(0)
    texts = {captions.background_wording(heart(background="blue"), generator) for _ in range(300)}
    assert "a pink heart on a blue background" in texts
    with pytest.raises(ValueError, match="no name"):
        captions.background_wording(heart(), generator)


@pytest.mark.parametrize(("size", "word"), [(0.25, "small"), (0.5, None), (0.9, "big")])
def test_a_size_is_named_only_when_it_is_striking(size: float, word: str | None) -> None:
    """A middling shape is neither small nor big."""
    assert captions.size_word(heart(size=size)) == word


def test_a_middling_size_has_no_wording() -> None:
    """It would be untrue."""
    with pytest.raises(ValueError, match="neither"):
        captions.size_wording(heart(size=0.5), np.random.default_rng(0))


def test_every_word_of_every_caption_is_one_token() -> None:
    """The vocabulary is made of the words that the captions use."""
    generator, tokenizer = np.random.default_rng(0), build(captions.words())
    wordings = [
        text
        for color, shape in captions.all_captions()
        for scene in [Scene(color=color, shape=shape, background="red", size=0.9, seed=0)]
        for text in (
            captions.pair_wording(color, shape, generator),
            captions.color_wording(color, generator),
            captions.shape_wording(shape, generator),
            captions.background_wording(scene, generator),
            captions.size_wording(scene, generator),
        )
    ]
    pieces = {token for text in wordings for token in tokenizer.encode(text, add_special_tokens=False).tokens}
    assert all(piece.endswith("</w>") for piece in pieces)


def test_lessons_never_name_a_held_out_pair() -> None:
    """Neither in words nor in images does training meet the pairs that it is judged by."""
    (pairs, *_) = lesson([heart(), heart(background="red", size=0.9)], np.random.default_rng(0))
    plain = {captions.caption(*pair) for pair in HELD_OUT}
    assert not plain & set(pairs.texts)


def test_lessons_say_which_captions_are_true_of_which_image() -> None:
    """Both wordings of its pair, its color, its shape, and nothing else."""
    pairs, colors, shapes = lesson([heart()], np.random.default_rng(0))[:3]
    assert "a pink heart" in [text for text, true in zip(pairs.texts, pairs.truth[0], strict=True) if true]
    assert [each.truth.sum() for each in (pairs, colors, shapes)] == [2, 1, 1]
