"""An exact loader makes an exact encoder: Pillow resizes, and vectors are those of the first version."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import (
    ClipPreprocess,
    ConfigurationError,
    ImageEncoder,
    ImageLoader,
    NaflexPreprocess,
    OpenClipPreprocess,
)
from clip_image_encoder.testing import ToyBackend

GENERATOR = np.random.default_rng(3)
PHOTO = Image.fromarray(GENERATOR.integers(0, 256, (24, 32, 3), np.uint8)).resize((320, 240), Image.Resampling.BICUBIC)


def encoder(*, exact: bool) -> ImageEncoder:
    return ImageEncoder("tiny-shapes", loader=ImageLoader(exact=exact), device="cpu")


def test_the_checkpoints_preprocess_is_as_exact_as_the_loader() -> None:
    for exact in (False, True):
        preprocess = encoder(exact=exact).preprocess
        assert isinstance(preprocess, ClipPreprocess)
        assert preprocess.exact is exact


def test_an_exact_encoder_gives_the_pixels_of_pillow() -> None:
    preprocess = encoder(exact=True).preprocess
    resized = PHOTO.resize((85, 64), Image.Resampling.BICUBIC).crop((10, 0, 74, 64))
    np.testing.assert_array_equal(preprocess(PHOTO), np.asarray(resized))


def test_any_other_gives_nearly_the_same_vectors() -> None:
    exact, quick = encoder(exact=True).encode(PHOTO), encoder(exact=False).encode(PHOTO)
    assert exact @ quick > 0.99999
    assert not np.array_equal(exact, quick)


def test_a_preprocess_that_is_given_stays_as_it_is() -> None:
    preprocess = ClipPreprocess(resize=64, crop=(64, 64))
    for loader in (ImageLoader(), ImageLoader(exact=True)):
        given = ImageEncoder("tiny-shapes", preprocess=preprocess, loader=loader, device="cpu")
        assert given.preprocess is preprocess
    assert ImageEncoder(backend=ToyBackend()).preprocess == ToyBackend().preprocess


@pytest.mark.parametrize("kind", [ClipPreprocess, NaflexPreprocess, OpenClipPreprocess])
def test_what_is_neither_exact_nor_not_is_refused(kind: type) -> None:
    with pytest.raises(ConfigurationError, match="exact must be True or False, not 'yes'"):
        kind(exact="yes")
