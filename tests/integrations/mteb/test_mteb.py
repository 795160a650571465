"""ClipEncoder in real tasks of MTEB, whose images are drawn instead of fetched."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import mteb
import numpy as np
import pytest
from datasets import Dataset, Image
from mteb.models import EncoderProtocol
from PIL import Image as PillowImage
from torch.utils.data import DataLoader

from clip_image_encoder import ConfigurationError, ImageEncoder, TextEncoder
from clip_image_encoder.integrations import mteb as integration
from clip_image_encoder.integrations.mteb import ClipEncoder
from docs.quality import NAMES, ShapesRetrieval, ShapesZeroShot, draw_pictures, main, measure


@pytest.fixture(scope="module")
def encoder() -> ClipEncoder:
    return ClipEncoder("tiny-shapes", device="cpu")


def batches(columns: dict[str, Any]) -> Any:
    """Batches of four, as MTEB's own DataLoader gives them."""
    dataset = Dataset.from_dict(columns)
    if "image" in columns:
        dataset = dataset.cast_column("image", Image())
    return DataLoader(dataset, 4, collate_fn=lambda rows: {name: [row[name] for row in rows] for name in columns})


def encode(encoder: ClipEncoder, columns: dict[str, Any]) -> Any:
    settings: Any = {"task_metadata": ShapesZeroShot.metadata, "hf_split": "test", "hf_subset": "default"}
    return encoder.encode(batches(columns), batch_size=4, show_progress_bar=False, **settings)


@pytest.fixture(scope="module")
def pictures(gallery: dict[str, Path]) -> list[Any]:
    """The gallery, upright: datasets turns no image."""
    return [PillowImage.open(file) for name, file in gallery.items() if name != "a blue star"]


def test_it_is_what_mteb_calls_an_encoder(encoder: ClipEncoder) -> None:
    assert isinstance(encoder, EncoderProtocol)


@pytest.mark.parametrize("task", [ShapesZeroShot, ShapesRetrieval])
def test_mteb_measures_that_the_bundled_model_knows_shapes(encoder: ClipEncoder, task: Any) -> None:
    (score,) = measure(encoder, [task()]).values()
    assert score > 0.9


def test_the_program_measures_the_drawn_tasks_without_arguments(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["quality.py"])
    main()
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [name for _, name in lines] == ["ShapesZeroShot", "ShapesT2IRetrieval"]
    assert all(float(score) > 0.9 for score, _ in lines)


def test_a_model_of_another_space_measures_badly(encoder: ClipEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = encoder.get_text_embeddings
    monkeypatch.setattr(encoder, "get_text_embeddings", lambda inputs: -texts(inputs))
    assert measure(encoder, [ShapesZeroShot()])["ShapesZeroShot"] < 0.1


def test_the_vectors_are_the_encoders_in_order(encoder: ClipEncoder, pictures: list[Any]) -> None:
    images, texts = ImageEncoder("tiny-shapes", device="cpu"), TextEncoder("tiny-shapes", device="cpu")
    np.testing.assert_allclose(encode(encoder, {"image": pictures}), images.encode(pictures), atol=1e-5)
    np.testing.assert_allclose(encode(encoder, {"text": NAMES}), texts.encode(NAMES), atol=1e-5)


def test_images_with_texts_get_the_sum_of_both_vectors(encoder: ClipEncoder, pictures: list[Any]) -> None:
    names = NAMES[: len(pictures)]
    fused = encode(encoder, {"image": pictures, "text": names})
    expected = encode(encoder, {"image": pictures}) + encode(encoder, {"text": names})
    np.testing.assert_allclose(fused, expected, atol=1e-5)


def test_images_share_forward_passes_whatever_mteb_s_batches_are(pictures: list[Any], passes: list[int]) -> None:
    encode(ClipEncoder("tiny-shapes", device="cpu"), {"image": pictures})
    encode(ClipEncoder("tiny-shapes", device="cpu", batch_size=3), {"image": pictures})
    assert passes == [8, 3, 3, 2]


def test_a_task_of_neither_images_nor_texts_is_refused(encoder: ClipEncoder) -> None:
    with pytest.raises(ConfigurationError, match=r"neither images nor texts, only \['audio'\]"):
        encode(encoder, {"audio": [1, 2]})


def test_results_are_kept_by_what_gives_the_vectors(encoder: ClipEncoder, exported: Path) -> None:
    meta = encoder.mteb_model_meta
    assert (meta.name, meta.embed_dim) == ("clip-image-encoder/tiny-shapes", 64)
    assert meta.revision == ImageEncoder("tiny-shapes", device="cpu").fingerprint
    assert ClipEncoder(exported).mteb_model_meta.revision != meta.revision
    half = ClipEncoder("tiny-shapes", device="cpu", dtype="bfloat16")
    assert half.mteb_model_meta.revision != meta.revision


def test_results_that_are_kept_are_found_again(encoder: ClipEncoder, tmp_path: Path, passes: list[int]) -> None:
    cache = mteb.ResultCache(cache_path=tmp_path)
    for _ in range(2):
        mteb.evaluate(encoder, ShapesZeroShot(), cache=cache, co2_tracker=False, show_progress_bar=False)
    assert sum(passes) == len(draw_pictures())


@pytest.mark.parametrize("wrong", [0, 2.5, True, "5"])
def test_a_wrong_batch_size_is_refused_at_once(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be a positive integer"):
        ClipEncoder("tiny-shapes", batch_size=wrong)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("openai/clip-vit-base-patch32", "openai/clip-vit-base-patch32"),
        ("/models/clip", "clip-image-encoder/clip"),
        ("tiny-shapes", "clip-image-encoder/tiny-shapes"),
    ],
)
def test_a_model_is_called_by_its_id_or_by_the_last_part_of_its_path(model: str, name: str) -> None:
    assert integration._two_part_name(model) == name


def test_the_examples_run() -> None:
    results = doctest.testmod(integration)
    assert results.attempted > 0
    assert results.failed == 0
