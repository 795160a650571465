"""One bad image never sinks or shifts the others, and errors name it."""

from __future__ import annotations

import gc
import io
import pickle
import warnings
import weakref
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import CorruptImageError, ImageEncoder, ImageError, ImageNotFoundError
from clip_image_encoder.testing import ToyBackend


def test_the_first_bad_image_raises_with_its_index_and_source(toy: ImageEncoder, noise: Image.Image) -> None:
    with pytest.raises(ImageNotFoundError, match=r"image 2 \(missing\.png\)") as caught:
        toy.encode([noise, noise, "missing.png", b"", noise], batch_size=2)
    assert (caught.value.index, caught.value.source) == (2, "missing.png")


def test_a_single_bad_image_raises_too(toy: ImageEncoder) -> None:
    with pytest.raises(CorruptImageError) as caught:
        toy.encode(b"\x89PNG\r\n\x1a\n, and then nothing of the kind")
    assert caught.value.index == 0


def test_nothing_passes_the_model_once_its_batch_has_a_bad_image(toy: ImageEncoder, noise: Image.Image) -> None:
    seen = []

    def watched(image: Image.Image) -> np.ndarray:
        seen.append(image)
        return np.zeros((3, 32, 32), np.float32)

    with pytest.raises(ImageError):
        ImageEncoder(backend=toy.backend, preprocess=watched, num_workers=0).encode(["missing.png", noise])
    assert len(seen) <= 1


def test_with_nan_a_bad_image_gets_a_row_of_nan_and_the_others_their_vectors(
    toy: ImageEncoder, photos: list[Image.Image]
) -> None:
    with pytest.warns(UserWarning, match="2 of the images"):
        vectors = toy.encode(
            [photos[0], "missing.png", photos[1], b"no image", photos[2]], on_error="nan", batch_size=2
        )
    assert np.isnan(vectors).all(axis=1).tolist() == [False, True, False, True, False]
    np.testing.assert_allclose(vectors[[0, 2, 4]], toy.encode(photos[:3]), atol=1e-6)


def test_with_nan_one_warning_lists_the_failures(toy: ImageEncoder, noise: Image.Image) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        toy.encode([f"missing-{number}.png" for number in range(25)] + [noise], on_error="nan", batch_size=4)
    (warning,) = caught
    text = str(warning.message)
    assert "image 0 (missing-0.png)" in text
    assert "and 15 more" in text
    assert warning.filename == __file__


def test_with_nan_and_only_good_images_nothing_is_warned_of(toy: ImageEncoder, noise: Image.Image) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        toy.encode([noise], on_error="nan")


def test_a_single_bad_image_with_nan_is_a_vector_of_nan(toy: ImageEncoder) -> None:
    with pytest.warns(UserWarning):
        vector = toy.encode("missing.png", on_error="nan")
    assert vector.shape == (toy.dimension,)
    assert np.isnan(vector).all()


def test_a_batch_of_nothing_but_bad_images_is_all_nan(toy: ImageEncoder) -> None:
    with pytest.warns(UserWarning):
        vectors = toy.encode(["a.png", "b.png", "c.png"], on_error="nan", batch_size=2)
    assert np.isnan(vectors).all()
    assert vectors.shape == (3, toy.dimension)


def test_a_stream_keeps_going_and_hands_on_the_errors(toy: ImageEncoder, photos: list[Image.Image]) -> None:
    batches = list(toy.stream([*photos[:3], "missing.png", *photos[3:6]], batch_size=3))
    assert [(batch.start, len(batch.embeddings), len(batch.failures)) for batch in batches] == [
        (0, 3, 0),
        (3, 3, 1),
        (6, 1, 0),
    ]
    assert batches[1].failures[0].index == 3
    assert np.isnan(batches[1].embeddings[0]).all()


def test_an_image_error_survives_another_process(toy: ImageEncoder, tmp_path: Path) -> None:
    with pytest.raises(ImageNotFoundError) as caught:
        toy.encode([tmp_path / "missing.png"])
    restored = pickle.loads(pickle.dumps(caught.value))
    assert (type(restored), str(restored), restored.index) == (ImageNotFoundError, str(caught.value), 0)


def test_an_image_error_keeps_what_pillow_said_as_its_cause(toy: ImageEncoder) -> None:
    with pytest.raises(CorruptImageError) as caught:
        toy.encode([b"\x89PNG\r\n\x1a\n, and then nothing of the kind"])
    assert caught.value.__cause__ is not None


class Kept(io.BytesIO):
    """A file that tells by a weak reference whether anybody still has it."""


@pytest.mark.parametrize("num_workers", [0, 2])
def test_an_error_keeps_nothing_of_its_input(num_workers: int) -> None:
    jpeg = io.BytesIO()
    Image.effect_noise((200, 200), 50).save(jpeg, "JPEG")
    file = Kept(jpeg.getvalue()[:3000])
    kept, sources = weakref.ref(file), [file] * 3
    del file
    gc.disable()
    try:
        failures = [
            failure
            for batch in ImageEncoder(backend=ToyBackend(), num_workers=num_workers).stream(iter(sources), batch_size=2)
            for failure in batch.failures
        ]
        sources.clear()
        assert kept() is None
    finally:
        gc.enable()
    assert [isinstance(failure.__cause__, OSError) for failure in failures] == [True] * 3
