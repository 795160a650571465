"""SigLIP 2 NaFlex: images of any aspect ratio together, with the vectors of transformers' own model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from transformers import Siglip2VisionConfig, Siglip2VisionModel

from clip_image_encoder import ClipPreprocess, ConfigurationError, ImageEncoder, MeanPatchesPooling
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.testing import check_backend

PATCH, PATCHES = 8, 20
SIZES = [(64, 48), (48, 64), (64, 64), (300, 40), (40, 300), (9, 7)]
# But for one column of patches, whose positions transformers 4 gets wrong: tests/units/models/test_grid.py.
SIZES += [(64, 48), (500, 400), (1, 1), (30, 20), (21, 30), (40, 200)]
MEAN, STD = (0.48, 0.46, 0.41), (0.27, 0.26, 0.28)


def images() -> list[Image.Image]:
    generator = np.random.default_rng(5)
    small = [generator.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8) for width, height in SIZES]
    return [Image.fromarray(noise).resize(size) for noise, size in zip(small, SIZES, strict=True)]


@pytest.fixture(scope="module")
def model() -> Siglip2VisionModel:
    config = Siglip2VisionConfig(
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        num_patches=16,
        patch_size=PATCH,
    )
    torch.manual_seed(0)
    model = Siglip2VisionModel(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape) * 0.3)
    return cast("Siglip2VisionModel", model)


@pytest.fixture(scope="module")
def folder(model: Siglip2VisionModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("naflex")
    model.save_pretrained(folder)
    processor = {
        "image_processor_type": "Siglip2ImageProcessorFast",
        "max_num_patches": PATCHES,
        "patch_size": PATCH,
        "image_mean": MEAN,
        "image_std": STD,
        "resample": 2,
        "do_convert_rgb": None,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


@pytest.fixture(scope="module")
def encoder(folder: Path) -> ImageEncoder:
    return ImageEncoder(folder, device="cpu")


def reference(model: Siglip2VisionModel, encoder: ImageEncoder) -> NDArray[np.float32]:
    """Return the unit vectors of transformers: one batch, each image padded to the most patches there may be."""
    patches, masks, shapes = [], [], []
    for image in images():
        pixels = (np.asarray(encoder.preprocess(image), np.float64) / 255 - MEAN) / STD
        rows, columns = pixels.shape[0] // PATCH, pixels.shape[1] // PATCH
        cut = pixels.reshape(rows, PATCH, columns, PATCH, 3).transpose(0, 2, 1, 3, 4).reshape(rows * columns, -1)
        padding = PATCHES - len(cut)
        patches.append(np.pad(cut, ((0, padding), (0, 0))))
        masks.append([1] * len(cut) + [0] * padding)
        shapes.append((rows, columns))
    with torch.inference_mode():
        pooled = model(
            torch.tensor(np.array(patches), dtype=torch.float32), torch.tensor(masks), torch.tensor(shapes)
        ).pooler_output
    unit: NDArray[np.float32] = torch.nn.functional.normalize(pooled).numpy()
    return unit


def test_images_of_twelve_shapes_have_the_references_vectors(model: Siglip2VisionModel, encoder: ImageEncoder) -> None:
    np.testing.assert_allclose(encoder.encode(images()), reference(model, encoder), atol=1e-5)


@pytest.mark.parametrize("batch_size", [1, 5])
def test_the_order_is_that_of_the_images_in_any_batch(encoder: ImageEncoder, batch_size: int) -> None:
    alone = np.stack([encoder.encode(image) for image in images()])
    np.testing.assert_allclose(encoder.encode(images(), batch_size), alone, atol=1e-5)


def test_a_bad_image_among_them_keeps_its_place(encoder: ImageEncoder) -> None:
    first, second = images()[:2]
    with pytest.warns(UserWarning, match="image 1"):
        vectors = encoder.encode([first, b"", second], on_error="nan")
    np.testing.assert_allclose(vectors[[0, 2]], encoder.encode([first, second]), atol=1e-6)
    assert np.isnan(vectors[1]).all()


def test_patches_are_pooled_at_each_images_own_number(folder: Path, encoder: ImageEncoder) -> None:
    pooled = ImageEncoder(folder, pooling=MeanPatchesPooling(), device="cpu")
    image = images()[3]
    tokens = encoder.backend(np.asarray(encoder.preprocess(image))[None], output="tokens", device="cpu")
    np.testing.assert_allclose(pooled.encode(image, normalize=False), tokens[0].mean(axis=0), atol=1e-5)


def test_a_grid_that_comes_again_has_the_same_vector(encoder: ImageEncoder) -> None:
    np.testing.assert_array_equal(encoder.encode(images()[:1]), encoder.encode(images()[:1]))


def test_images_are_squashed_when_that_is_asked_for(folder: Path, encoder: ImageEncoder) -> None:
    squash = ClipPreprocess.from_config(open_checkpoint(folder).preprocessor_config)
    squashed = ImageEncoder(folder, preprocess=squash, device="cpu")
    wide = images()[3]
    assert squashed.backend.image_size == (32, 32)
    assert not np.allclose(squashed.encode(wide), encoder.encode(wide), atol=0.01)
    assert squashed.fingerprint != encoder.fingerprint


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_runtime_of_one_size_is_refused_when_the_encoder_is_made(folder: Path, backend: str) -> None:
    with pytest.raises(ConfigurationError, match=r"takes pixels of one size.*use backend='torch'"):
        ImageEncoder(folder, backend=backend)


def test_the_backend_keeps_its_protocol_without_a_size_of_its_own(encoder: ImageEncoder) -> None:
    assert encoder.backend.image_size is None
    check_backend(encoder.backend)


def test_bfloat16_points_the_same_way(folder: Path, encoder: ImageEncoder) -> None:
    half = ImageEncoder(folder, dtype="bfloat16", device="cpu").encode(images())
    assert (half * encoder.encode(images())).sum(axis=1).min() > 0.99


def test_a_preprocess_of_one_size_and_a_backend_of_any_are_told_apart(folder: Path, encoder: ImageEncoder) -> None:
    with pytest.raises(ConfigurationError, match=r"size \(32, 32\), the backend takes any size"):
        ImageEncoder(backend=encoder.backend, preprocess=ClipPreprocess(resize=32, crop=(32, 32)))
