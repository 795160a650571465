"""One encoder in several threads and processes, and what it leaves alone."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL.Image
import PIL.ImageFile
import pytest
import torch
from PIL import Image

from clip_image_encoder import ClassTokenPooling, ConfigurationError, ImageEncoder, ImageLoader, PretrainedPooling
from clip_image_encoder.testing import ToyBackend


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return ImageEncoder("tiny-shapes")


def test_several_threads_get_what_one_gets(encoder: ImageEncoder, photos: list[Image.Image]) -> None:
    expected = encoder.encode(photos)
    with ThreadPoolExecutor(8) as pool:
        for vectors in pool.map(lambda _: encoder.encode(photos, batch_size=4), range(16)):
            np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_it_pickles_as_its_configuration_not_its_weights(encoder: ImageEncoder, photos: list[Image.Image]) -> None:
    pickled = pickle.dumps(encoder)
    assert len(pickled) < 20_000
    np.testing.assert_array_equal(pickle.loads(pickled).encode(photos), encoder.encode(photos))


def test_another_process_makes_the_same_vectors_of_a_pickle(encoder: ImageEncoder, tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    (tmp_path / "encoder.pickle").write_bytes(pickle.dumps(encoder))
    np.save(tmp_path / "picture.npy", picture)
    program = (
        "import pickle, numpy as np\n"
        "encoder = pickle.load(open('encoder.pickle', 'rb'))\n"
        "np.save('vector.npy', encoder.encode(np.load('picture.npy')))\n"
        "print(encoder.fingerprint)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == encoder.fingerprint
    np.testing.assert_allclose(np.load(tmp_path / "vector.npy"), encoder.encode(picture), atol=1e-6)


def test_two_threads_may_load_the_first_image_encoder_and_the_first_text_encoder_at_once() -> None:
    program = (
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from threading import Barrier\n"
        "from clip_image_encoder import ImageEncoder, TextEncoder\n"
        "both_are_here = Barrier(2)\n"
        "def load(kind):\n"
        "    both_are_here.wait()\n"
        "    return kind('tiny-shapes').dimension\n"
        "print(*ThreadPoolExecutor(2).map(load, (ImageEncoder, TextEncoder)))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout == "64 64\n", done.stderr


def test_loading_and_encoding_are_silent(tmp_path: Path, photo_paths: list[Path]) -> None:
    program = (
        "import sys\n"
        "from clip_image_encoder import ImageEncoder, TextEncoder\n"
        "ImageEncoder('tiny-shapes').encode(sys.argv[1:] * 70, batch_size=8)\n"
        "TextEncoder('tiny-shapes').encode('a red circle')\n"
    )
    paths = [str(path) for path in photo_paths]
    done = subprocess.run([sys.executable, "-c", program, *paths], cwd=tmp_path, capture_output=True, check=True)
    assert (done.stdout, done.stderr) == (b"", b"")


def test_no_global_state_is_changed(encoder: ImageEncoder, photo_paths: list[Path]) -> None:
    def snapshot() -> list[object]:
        return [
            PIL.Image.MAX_IMAGE_PIXELS,
            PIL.ImageFile.LOAD_TRUNCATED_IMAGES,
            list(warnings.filters),
            torch.get_num_threads(),
            torch.get_rng_state().tolist(),
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            str(np.random.get_state(legacy=True)),
            random.getstate(),
        ]

    before = snapshot()
    with pytest.warns(UserWarning):
        encoder.encode([*photo_paths, b"no image"], on_error="nan")
    ImageEncoder("tiny-shapes")
    assert snapshot() == before


def test_the_same_configuration_has_the_same_fingerprint(encoder: ImageEncoder) -> None:
    assert ImageEncoder("tiny-shapes").fingerprint == encoder.fingerprint
    assert len(encoder.fingerprint) == 64


@pytest.mark.parametrize(
    "other",
    [
        ImageEncoder("tiny-shapes", dtype="bfloat16"),
        ImageEncoder("tiny-shapes", pooling=ClassTokenPooling()),
        ImageEncoder("tiny-shapes", loader=ImageLoader(exact=True)),
        ImageEncoder(backend=ToyBackend()),
    ],
    ids=["dtype", "pooling", "loader", "model"],
)
def test_whatever_changes_vectors_changes_the_fingerprint(encoder: ImageEncoder, other: ImageEncoder) -> None:
    assert other.fingerprint != encoder.fingerprint


def test_a_setting_that_changes_no_vector_leaves_the_fingerprint(encoder: ImageEncoder) -> None:
    assert ImageEncoder("tiny-shapes", num_workers=0, pooling=PretrainedPooling()).fingerprint == encoder.fingerprint


def test_a_component_that_does_not_say_what_it_is_has_no_fingerprint() -> None:
    encoder = ImageEncoder(backend=ToyBackend(), preprocess=lambda image: np.zeros((3, 32, 32), np.float32))
    with pytest.raises(ConfigurationError, match="frozen dataclass"):
        _ = encoder.fingerprint
