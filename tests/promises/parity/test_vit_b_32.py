"""At full size, on real photos, the pixels and the vectors are those of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from clip_image_encoder import ImageEncoder, ImageLoader


@pytest.fixture(scope="module")
def reference() -> CLIPVisionModelWithProjection:
    """A model of ViT-B/32's size with random weights, always the same."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model: CLIPVisionModelWithProjection = CLIPVisionModelWithProjection(CLIPVisionConfig(projection_dim=512))
    model.eval()
    return model


@pytest.fixture(scope="module")
def processor() -> Any:
    """The reference's image processor that works on Pillow: a class of its own since transformers 5."""
    kind: Any = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    return kind()


@pytest.fixture(scope="module")
def encoder(
    reference: CLIPVisionModelWithProjection, processor: Any, tmp_path_factory: pytest.TempPathFactory
) -> ImageEncoder:
    """The same model, saved to disk by transformers and loaded by us."""
    folder = tmp_path_factory.mktemp("vit-b-32")
    reference.save_pretrained(folder)
    processor.save_pretrained(folder)
    return ImageEncoder(folder, loader=ImageLoader(exact=True), device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def pictures(photos: list[Image.Image], photo_paths: list[Path]) -> list[Path | Image.Image]:
    """The two photos as files, and parts of them: 34 in all."""
    flipped = [photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for photo in photos]
    return [*photo_paths, *photos, *flipped, *[photo.rotate(90) for photo in photos[:10]]]


@pytest.fixture(scope="module")
def expected(
    reference: CLIPVisionModelWithProjection, processor: Any, pictures: list[Path | Image.Image]
) -> NDArray[np.float32]:
    """What transformers makes of the images, one at a time."""
    rows = []
    for picture in pictures:
        image = Image.open(picture) if isinstance(picture, Path) else picture
        with torch.inference_mode():
            vector = reference(**processor(images=image, return_tensors="pt")).image_embeds
        rows.append(torch.nn.functional.normalize(vector).numpy())
    return np.concatenate(rows)


@pytest.mark.parametrize("index", [0, 1], ids=["china", "flower"])
def test_the_pixels_of_a_photo_are_those_of_the_reference(
    encoder: ImageEncoder, processor: Any, photo_paths: list[Path], index: int
) -> None:
    pixels = encoder.preprocess(encoder.loader(photo_paths[index], model_size=(224, 224)))
    processed = processor(images=Image.open(photo_paths[index]), do_rescale=False, do_normalize=False)
    np.testing.assert_array_equal(pixels, np.asarray(processed["pixel_values"][0]).transpose(1, 2, 0))


@pytest.mark.parametrize(("batch_size", "count"), [(1, 5), (2, 5), (7, 34), (32, 34)])
def test_the_vectors_are_those_of_the_reference_at_any_batch_size(
    encoder: ImageEncoder,
    pictures: list[Path | Image.Image],
    expected: NDArray[np.float32],
    batch_size: int,
    count: int,
) -> None:
    vectors = encoder.encode(pictures[:count], batch_size=batch_size)
    np.testing.assert_allclose(vectors, expected[:count], atol=1e-5)


def test_a_photo_that_is_decoded_smaller_keeps_its_direction(
    encoder: ImageEncoder, photos: list[Image.Image], tmp_path: Path
) -> None:
    large = tmp_path / "large.jpg"
    photos[0].resize((2560, 1708), Image.Resampling.BICUBIC).save(large, quality=92)
    quick = ImageEncoder(backend=encoder.backend, preprocess=encoder.preprocess)
    assert quick.encode(large) @ encoder.encode(large) >= 0.9999
