"""Vectors, pixels and ids are open_clip's, for the towers that are read here and for those that open_clip builds."""

from __future__ import annotations

from collections.abc import Callable
from unicodedata import category

import numpy as np
import pytest
import torch
from PIL import Image

from clip_image_encoder import ImageEncoder, ImageLoader, OpenClipPreprocess, TextEncoder
from clip_image_encoder.checkpoint import open_checkpoint
from tests.units.text.test_ids import strings

from .conftest import Saved
from .folders import MODELS, NATIVE, THROUGH

TEXTS = [
    "a red circle",
    "A photo of TWO dogs, 1.5!",
    "",
    "caf\u00e9 \u2013 &amp; \u201cquotes\u201d",
    "the " * 120,
]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")


def exact_encoder(reference: Saved) -> ImageEncoder:
    return ImageEncoder(reference.folder, loader=ImageLoader(exact=True), device="cpu")


@pytest.mark.parametrize("name", MODELS)
def test_vectors_of_images_are_open_clips(name: str, saved: Callable[[str], Saved], images: list[Image.Image]) -> None:
    reference = saved(name)
    vectors = exact_encoder(reference).encode(images, normalize=False)
    np.testing.assert_allclose(vectors, reference.image_vectors(images), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_vectors_of_texts_are_open_clips(name: str, saved: Callable[[str], Saved]) -> None:
    reference = saved(name)
    vectors = TextEncoder(reference.folder, device="cpu").encode(TEXTS, normalize=False)
    np.testing.assert_allclose(vectors, reference.text_vectors(TEXTS), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["vit", "clipa", "longest", "siglip", "mobileclip"])
def test_pixels_are_those_of_open_clips_transform(
    name: str, saved: Callable[[str], Saved], images: list[Image.Image]
) -> None:
    reference = saved(name)
    preprocess = exact_encoder(reference).preprocess
    assert isinstance(preprocess, OpenClipPreprocess)
    *steps, normalize = reference.transform.transforms
    for image in images:
        expected: object = image
        for step in steps:
            expected = step(expected)
        assert isinstance(expected, torch.Tensor)
        assert np.array_equal(preprocess(image), (expected * 255).round().to(torch.uint8).permute(1, 2, 0))
    assert normalize.mean == pytest.approx(preprocess.pixel_format.mean)
    assert normalize.std == pytest.approx(preprocess.pixel_format.std)


@pytest.mark.parametrize("name", ["vit", "clipa", "named_tokenizer", "siglip"])
def test_ids_are_those_of_open_clips_tokenizer(name: str, saved: Callable[[str], Saved]) -> None:
    reference = saved(name)
    # open_clip's regex package is of a later Unicode, in which more of what is not assigned yet are letters.
    assigned = [text for text in strings() if not any(category(character) == "Cn" for character in text)]
    texts = [
        *assigned,
        "<start_of_text> a",
        "a!<end_of_text>",
        "<START_OF_TEXT>",
        "&lt;b&gt; &amp;amp;",
        "\u201ca\u201d",
    ]
    encoder = TextEncoder(reference.folder, device="cpu")
    expected = reference.tokenizer()(texts).numpy()
    ids = np.zeros_like(expected)
    for row, text in zip(ids, texts, strict=True):
        (own,), _ = encoder.tokenizer([text])
        row[: len(own)] = own
    assert [text for text, a, b in zip(texts, ids, expected, strict=True) if not np.array_equal(a, b)] == []


@pytest.mark.parametrize("name", NATIVE)
def test_a_tower_that_is_read_here_needs_no_open_clip(name: str, saved: Callable[[str], Saved]) -> None:
    checkpoint = open_checkpoint(saved(name).folder)
    assert (checkpoint.vision.through, checkpoint.text.through) == (None, None)


@pytest.mark.parametrize("name", THROUGH)
def test_another_tower_says_that_it_goes_through_open_clip(name: str, saved: Callable[[str], Saved]) -> None:
    assert "through the open_clip package" in repr(ImageEncoder(saved(name).folder, device="cpu"))
