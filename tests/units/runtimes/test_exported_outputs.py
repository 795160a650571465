"""What an exported vision tower takes and gives: bytes or normalized pixels in, one vector or all tokens out."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder.__main__ import main
from clip_image_encoder.backends import ExportedBackend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.export import export
from clip_image_encoder.pooling import ClassTokenPooling, MeanPatchesPooling
from clip_image_encoder.preprocess import preprocess_of
from clip_image_encoder.testing import check_backend

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 80, 100, 3), dtype=np.uint8)


class LargestTokens:
    """A pooling that no graph knows."""

    reads = "tokens"

    def __call__(self, features: NDArray[np.float32], /) -> NDArray[np.float32]:
        largest: NDArray[np.float32] = features.max(axis=1)
        return largest


@pytest.fixture(scope="module")
def pooled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported folder for ONNX Runtime whose graph pools."""
    folder = tmp_path_factory.mktemp("exported") / "pooled"
    export("tiny-shapes", folder, texts=False)
    return folder


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported folder for ONNX Runtime whose graph gives tokens."""
    folder = tmp_path_factory.mktemp("exported") / "tokens"
    export("tiny-shapes", folder, output="tokens", texts=False)
    return folder


def normalized(image: Image.Image) -> NDArray[np.float32]:
    """Prepare an image as the checkpoint does, and normalize it, as other packages' transforms do."""
    preprocess = preprocess_of(open_checkpoint("tiny-shapes").preprocessor_config)
    seen = preprocess.pixel_format
    pixels = (np.asarray(preprocess(image), np.float64) / 255 - np.array(seen.mean)) / np.array(seen.std)
    changed: NDArray[np.float32] = pixels.transpose(2, 0, 1).astype(np.float32)
    return changed


@pytest.mark.parametrize("pooling", [ClassTokenPooling(), MeanPatchesPooling(), LargestTokens()])
def test_tokens_are_pooled_by_whatever_is_given(tokens: Path, pooling: Any) -> None:
    expected = ImageEncoder("tiny-shapes", pooling=pooling, device="cpu").encode(IMAGES)
    np.testing.assert_allclose(ImageEncoder(tokens, pooling=pooling).encode(IMAGES), expected, atol=1e-5)


def test_tokens_without_a_pooling_are_refused_with_what_to_do(tokens: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"gives \['tokens'\]; pass another pooling="):
        ImageEncoder(tokens)


def test_an_output_that_the_checkpoint_does_not_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="no output 'patches'; it has 'pooled', 'tokens'"):
        export("tiny-shapes", tmp_path / "made", output="patches")  # type: ignore[arg-type]  # tried here


def test_the_command_exports_tokens(tmp_path: Path) -> None:
    assert main(["export", "tiny-shapes", "-o", str(tmp_path / "made"), "--tokens", "--images-only"]) == 0
    assert ImageEncoder(tmp_path / "made", pooling=MeanPatchesPooling()).backend.outputs == {"tokens"}


@pytest.mark.parametrize("output", ["pooled", "tokens"])
def test_it_keeps_the_contract_of_backends(output: str, request: pytest.FixtureRequest) -> None:
    checkpoint = open_checkpoint(request.getfixturevalue(output))
    pixel_format = preprocess_of(checkpoint.preprocessor_config).pixel_format
    check_backend(ExportedBackend(checkpoint, pixel_format=pixel_format))


def test_a_transform_that_normalizes_gives_the_vectors_of_the_folders_own_preprocess(pooled: Path) -> None:
    encoder = ImageEncoder(pooled, preprocess=normalized)
    expected = ImageEncoder(pooled).encode(IMAGES)
    assert np.array_equal(encoder.encode(IMAGES), expected)
    assert np.array_equal(
        pickle.loads(pickle.dumps(encoder.backend))(
            np.stack([normalized(Image.fromarray(image)) for image in IMAGES]), output="pooled", device="cpu"
        ),
        encoder.encode(IMAGES, normalize=False),
    )


def test_bytes_are_refused_where_pixels_are_said_to_be_normalized(pooled: Path) -> None:
    backend = ImageEncoder(pooled, preprocess=normalized).backend
    with pytest.raises(ConfigurationError, match="was exported for pixels in PixelFormat"):
        backend(np.zeros((1, 64, 64, 3), np.uint8), output="pooled", device="cpu")
