"""The bundled checkpoint is one for everybody: plain transformers gives the vectors that we give."""

from typing import Any

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray
from PIL import Image
from transformers import CLIPModel, CLIPTokenizer

from clip_image_encoder import ImageEncoder, ImageLoader, TextEncoder
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes
from tests.programs.benchmarks.checkpoint import BUNDLED

TEXTS = ["a red circle", "Something GREY", "a photo of a blue heart on a white background", "", "Zürich, 猫"]


@pytest.fixture(name="model", scope="module")
def _model() -> CLIPModel:
    return CLIPModel.from_pretrained(BUNDLED)


def _unit(features: Any) -> NDArray[np.float32]:
    # transformers 5 returns an object, 4 a tensor.
    tensor: torch.Tensor = getattr(features, "pooler_output", features)
    vectors: NDArray[np.float32] = torch.nn.functional.normalize(tensor, dim=-1).numpy()
    return vectors


@torch.inference_mode()
def test_images_have_the_vectors_of_plain_transformers(model: CLIPModel) -> None:
    images: list[Image.Image] = [draw(scene) for scene in random_scenes(40, seed=4)]
    kind = getattr(transformers, "CLIPImageProcessorPil", transformers.CLIPImageProcessor)
    inputs = kind.from_pretrained(BUNDLED)(images=images, return_tensors="pt")
    theirs = _unit(model.get_image_features(**inputs))
    np.testing.assert_allclose(
        ImageEncoder("tiny-shapes", loader=ImageLoader(exact=True)).encode(images), theirs, atol=1e-5
    )


@torch.inference_mode()
def test_texts_have_the_vectors_of_plain_transformers(model: CLIPModel) -> None:
    inputs = CLIPTokenizer.from_pretrained(BUNDLED)(TEXTS, padding=True, return_tensors="pt")
    theirs = _unit(model.get_text_features(**inputs))
    np.testing.assert_allclose(TextEncoder("tiny-shapes").encode(TEXTS), theirs, atol=1e-5)
