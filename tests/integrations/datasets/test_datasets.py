"""EmbedImages in real datasets: mapped, cached, in several processes."""

from __future__ import annotations

import doctest
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
from datasets import Dataset, Image
from datasets.fingerprint import Hasher

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader, TextEncoder
from clip_image_encoder.integrations import datasets as integration
from clip_image_encoder.integrations.datasets import EmbedImages


@pytest.fixture(scope="module")
def encoder() -> ImageEncoder:
    return ImageEncoder("tiny-shapes", device="cpu")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def dataset_of(files: list[Path], *, decode: bool) -> Any:
    dataset = Dataset.from_dict({"image": [str(file) for file in files], "number": range(len(files))})
    return dataset.cast_column("image", Image(decode=decode))


@pytest.mark.parametrize("decode", [False, True])
def test_the_vectors_are_the_encoders_in_the_order_of_the_rows(
    encoder: ImageEncoder, gallery: dict[str, Path], decode: bool
) -> None:
    files = list(gallery.values())
    embedded = dataset_of(files, decode=decode).map(EmbedImages(encoder), batched=True, batch_size=4)
    assert embedded.column_names == ["image", "number", "embedding", "error"]
    assert embedded["number"][:] == list(range(len(files)))
    np.testing.assert_allclose(embedded.with_format("numpy")["embedding"][:], encoder.encode(files), atol=1e-5)


def test_a_bad_image_is_a_row_with_its_reason(encoder: ImageEncoder, gallery: dict[str, Path], bad_file: Path) -> None:
    files = [*list(gallery.values())[:4], bad_file]
    embedded = dataset_of(files, decode=False).map(EmbedImages(encoder), batched=True, batch_size=2)
    assert [bool(error) for error in embedded["error"]] == [False] * 4 + [True]
    assert embedded["error"][:4] == [""] * 4
    assert embedded["error"][4].startswith("not an image in a known format")
    assert np.isnan(embedded["embedding"][4]).all()


def test_a_model_may_be_named(encoder: ImageEncoder, gallery: dict[str, Path]) -> None:
    paths = [str(file) for file in gallery.values()]
    embedded = Dataset.from_dict({"path": paths}).map(EmbedImages("tiny-shapes", batch_size=2), batched=True)
    np.testing.assert_allclose(embedded["embedding"][:], encoder.encode(paths), atol=1e-5)


def test_vectors_may_be_the_models_own_numbers(encoder: ImageEncoder, gallery: dict[str, Path]) -> None:
    files = list(gallery.values())
    plain = EmbedImages(encoder, normalize=False)
    embedded = dataset_of(files, decode=False).map(plain, batched=True)
    np.testing.assert_allclose(embedded["embedding"][:], encoder.encode(files, normalize=False), rtol=1e-4, atol=1e-5)
    assert Hasher.hash(plain) != Hasher.hash(EmbedImages(encoder))


def test_files_inside_the_dataset_are_read(encoder: ImageEncoder, gallery: dict[str, Path]) -> None:
    rows = [{"bytes": file.read_bytes(), "path": None} for file in gallery.values()]
    embedded = Dataset.from_dict({"image": rows}).map(EmbedImages(encoder), batched=True)
    np.testing.assert_allclose(embedded["embedding"][:], encoder.encode(list(gallery.values())), atol=1e-5)


def test_several_processes_give_the_same(encoder: ImageEncoder, gallery: dict[str, Path]) -> None:
    dataset = dataset_of(list(gallery.values()), decode=False)
    once = dataset.map(EmbedImages(encoder), batched=True, load_from_cache_file=False)
    twice = dataset.map(EmbedImages(encoder), batched=True, num_proc=2, load_from_cache_file=False)
    np.testing.assert_allclose(twice["embedding"][:], once["embedding"][:], atol=1e-5)


def test_images_of_an_exported_folder_are_found_by_words(exported: Path, gallery: dict[str, Path]) -> None:
    files = list(gallery.values())
    embedded = dataset_of(files, decode=False).map(EmbedImages(ImageEncoder(exported)), batched=True)
    embedded.add_faiss_index("embedding")
    (query,) = TextEncoder(exported).encode(["a green star"])
    _, found = embedded.get_nearest_examples("embedding", query, k=1)
    assert files[found["number"][0]] == gallery["a green star"]


def test_the_cache_is_found_again_by_an_encoder_that_gives_the_same_vectors(encoder: ImageEncoder) -> None:
    program = (
        "from datasets.fingerprint import Hasher\n"
        "from clip_image_encoder import ImageEncoder\n"
        "from clip_image_encoder.integrations.datasets import EmbedImages\n"
        "print(Hasher.hash(EmbedImages(ImageEncoder('tiny-shapes', device='cpu'))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    before = Hasher.hash(EmbedImages(encoder))
    encoder.encode(np.zeros((8, 8, 3), np.uint8))
    assert done.stdout.strip() == before == Hasher.hash(EmbedImages(encoder))


def test_another_encoder_is_another_entry_of_the_cache(encoder: ImageEncoder) -> None:
    other = ImageEncoder("tiny-shapes", device="cpu", loader=ImageLoader(background=(0, 0, 0)))
    assert Hasher.hash(EmbedImages(other)) != Hasher.hash(EmbedImages(encoder))


def test_a_column_that_is_not_there_is_named(encoder: ImageEncoder, gallery: dict[str, Path]) -> None:
    with pytest.raises(ConfigurationError, match="'photo'"):
        dataset_of(list(gallery.values()), decode=False).map(EmbedImages(encoder, column="photo"), batched=True)


@pytest.mark.parametrize("wrong", [0, 2.5, True, "5"])
def test_a_wrong_batch_size_is_refused_at_once(encoder: ImageEncoder, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be a positive integer"):
        EmbedImages(encoder, batch_size=wrong)


def test_the_examples_run() -> None:
    results = doctest.testmod(integration)
    assert results.attempted > 0
    assert results.failed == 0
