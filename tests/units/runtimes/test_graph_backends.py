"""Exported graphs: torch's features, in every dtype, from any number of processes, and found again."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openvino
import pytest
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder, MeanPatchesPooling, PixelFormat, TextEncoder
from clip_image_encoder.backends import find_backend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.protocols import Backend
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes
from tests.programs.training.captions import all_captions
from tests.units.backends.conftest import Saved
from tests.units.backends.conftest import save as save
from tests.units.backends.families import FAMILIES, IMAGE_SIZE, MEAN, STD, normalize
from tests.units.checkpoint.open_clip_files import MODEL_CFG
from tests.units.checkpoint.open_clip_files import save as save_open_clip


def opened(runtime: str, folder: Path | str, dtype: str = "float32", side: int = IMAGE_SIZE) -> Backend:
    pixel_format = PixelFormat(size=(side, side), mean=MEAN, std=STD)
    return find_backend(runtime)(open_checkpoint(folder), pixel_format=pixel_format, dtype=dtype, device="cpu")


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (5, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)


@pytest.fixture(scope="session", params=[family.name for family in FAMILIES if family.exported])
def exported(request: pytest.FixtureRequest, save: Callable[..., Saved]) -> Saved:
    """Each family whose graphs are other than another's; the folder is not to be changed."""
    return save(request.param)


def test_every_family_gives_torchs_features(runtime: str, exported: Saved, pixels: NDArray[np.uint8]) -> None:
    backend, torch_backend = opened(runtime, exported.folder), exported.backend()
    assert backend.outputs == torch_backend.outputs
    assert backend.dimension == torch_backend.dimension
    for output in torch_backend.outputs:
        expected = torch_backend(pixels, output=output, device="cpu")
        for batch in (pixels, pixels[:1]):
            features = backend(batch, output=output, device="cpu")
            np.testing.assert_allclose(features, expected[: len(batch)], atol=1e-3 * np.abs(expected).max())


def test_positions_are_resized_in_a_graph_as_torch_does(runtime: str, save: Callable[..., Saved]) -> None:
    saved, size = save("clipseg"), (IMAGE_SIZE + 16, IMAGE_SIZE + 16)
    pixels = np.random.default_rng(0).integers(0, 256, (2, *size, 3), dtype=np.uint8)
    expected = saved.backend(pixel_format=PixelFormat(size=size, mean=MEAN, std=STD))(
        pixels, output="pooled", device="cpu"
    )
    features = opened(runtime, saved.folder, side=size[0])(pixels, output="pooled", device="cpu")
    np.testing.assert_allclose(features, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("pools_first", [False, True])
def test_open_clips_poolings_give_torchs_features(
    runtime: str, pools_first: bool, tmp_path: Path, pixels: NDArray[np.uint8]
) -> None:
    vision = {"no_ln_pre": True, "pool_type": "avg", "final_ln_after_pool": pools_first}
    save_open_clip(tmp_path, {**MODEL_CFG, "vision_cfg": {**MODEL_CFG["vision_cfg"], **vision}})
    expected = opened("torch", tmp_path)(pixels, output="pooled", device="cpu")
    features = opened(runtime, tmp_path)(pixels, output="pooled", device="cpu")
    np.testing.assert_allclose(features, expected, atol=1e-3 * np.abs(expected).max())


def test_normalized_float_pixels_pass_as_they_are(
    runtime: str, save: Callable[..., Saved], pixels: NDArray[np.uint8]
) -> None:
    backend = opened(runtime, save("clip").folder)
    expected = backend(pixels, output="pooled", device="cpu")
    features = backend(normalize(pixels).numpy(), output="pooled", device="cpu")
    np.testing.assert_allclose(features, expected, atol=1e-4)


def test_a_second_start_needs_no_torch(runtime: str, tmp_path: Path, cache: Path) -> None:
    program = (
        "import sys\n"
        "from PIL import Image\n"
        "from clip_image_encoder import ImageEncoder\n"
        f"encoder = ImageEncoder('tiny-shapes', backend={runtime!r})\n"
        "print(encoder.encode(Image.new('RGB', (64, 64), 'red')).shape, 'torch' in sys.modules)\n"
    )
    outputs = [
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
        for _ in range(2)
    ]
    assert outputs[1] == "(64,) False\n"


def test_several_processes_may_start_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With openvino, which makes the graph that onnx makes, and then compiles it."""
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    program = (
        "from PIL import Image\n"
        "from clip_image_encoder import ImageEncoder\n"
        "encoder = ImageEncoder('tiny-shapes', backend='openvino')\n"
        "print(encoder.encode(Image.new('RGB', (64, 64), 'red'))[:3])\n"
    )
    children = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) for _ in range(3)]
    outputs = {child.communicate()[0] for child in children}
    assert len(outputs) == 1
    assert [child.returncode for child in children] == [0, 0, 0]
    (folder,) = (path for path in (tmp_path / "clip_image_encoder").iterdir() if path.is_dir())
    assert "unfinished" not in folder.name


def test_a_cache_that_can_not_be_written_to_is_named(
    runtime: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="HF_HOME"):
        opened(runtime, "tiny-shapes", side=64)


def test_an_unknown_dtype_is_refused_with_those_that_there_are(runtime: str) -> None:
    with pytest.raises(ConfigurationError, match="float32"):
        opened(runtime, "tiny-shapes", "float64", side=64)


def test_a_wrong_size_is_refused(runtime: str) -> None:
    with pytest.raises(ConfigurationError, match="takes pixels of size"):
        opened(runtime, "tiny-shapes", side=65)


def test_a_pickle_gives_the_same_features_and_carries_no_weights(
    runtime: str, save: Callable[..., Saved], pixels: NDArray[np.uint8]
) -> None:
    backend = opened(runtime, save("clip").folder)
    pickled = pickle.dumps(backend)
    assert len(pickled) < 10_000
    restored: Backend = pickle.loads(pickled)
    np.testing.assert_array_equal(
        restored(pixels, output="pooled", device="cpu"), backend(pixels, output="pooled", device="cpu")
    )


def test_several_threads_get_what_one_gets(runtime: str, save: Callable[..., Saved], pixels: NDArray[np.uint8]) -> None:
    backend = opened(runtime, save("clip").folder)
    expected = backend(pixels, output="tokens", device="cpu")
    with ThreadPoolExecutor(8) as pool:
        for tokens in pool.map(lambda _: backend(pixels, output="tokens", device="cpu"), range(32)):
            np.testing.assert_allclose(tokens, expected, atol=1e-5)


def test_runtime_and_dtype_are_part_of_the_fingerprint(runtime: str) -> None:
    ours, torchs = ImageEncoder("tiny-shapes", backend=runtime), ImageEncoder("tiny-shapes", device="cpu")
    assert ours.fingerprint != torchs.fingerprint
    assert ours.fingerprint == ImageEncoder("tiny-shapes", backend=runtime).fingerprint


def test_any_pooling_may_follow(runtime: str) -> None:
    images = [draw(scene) for scene in random_scenes(4, seed=0)]
    vectors = ImageEncoder("tiny-shapes", backend=runtime, pooling=MeanPatchesPooling()).encode(images)
    expected = ImageEncoder("tiny-shapes", device="cpu", pooling=MeanPatchesPooling()).encode(images)
    np.testing.assert_allclose(vectors, expected, atol=1e-4)


@pytest.fixture(scope="module")
def gallery() -> list[Image.Image]:
    # At the model's size, since loading them is not what is looked at.
    return [draw(scene) for scene in random_scenes(400, seed=20_261_125, canvas=(64, 64))]


@pytest.fixture(scope="module")
def exact(gallery: list[Image.Image]) -> NDArray[np.float32]:
    """The gallery's vectors in float32."""
    return ImageEncoder("tiny-shapes", device="cpu", dtype="float32").encode(gallery)


@pytest.fixture(scope="module")
def captions() -> NDArray[np.float32]:
    return TextEncoder("tiny-shapes", device="cpu").encode(list(all_captions().values()))


def test_int8_finds_the_caption_that_float32_finds(
    runtime: str, gallery: list[Image.Image], exact: NDArray[np.float32], captions: NDArray[np.float32]
) -> None:
    """For 98 % of the images."""
    small = ImageEncoder("tiny-shapes", backend=runtime, dtype="int8").encode(gallery)
    same = (exact @ captions.T).argmax(axis=1) == (small @ captions.T).argmax(axis=1)
    assert not np.array_equal(exact, small)
    assert same.mean() >= 0.98


def test_bfloat16_points_the_same_way(gallery: list[Image.Image], exact: NDArray[np.float32]) -> None:
    if "BF16" not in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        with pytest.raises(ConfigurationError, match="bfloat16"):
            ImageEncoder("tiny-shapes", backend="openvino", dtype="bfloat16")
        return
    half = ImageEncoder("tiny-shapes", backend="openvino", dtype="bfloat16").encode(gallery)
    assert (exact * half).sum(axis=1).min() > 0.999
