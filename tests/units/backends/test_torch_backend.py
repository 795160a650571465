"""TorchBackend as a component: its numbers, devices, threads, pickles and fingerprint."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from clip_image_encoder.backends import torch as torch_backends
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.errors import ConfigurationError

from .conftest import Saved, noise
from .families import PIXEL_FORMAT, normalize


def cosines(one: NDArray[np.float32], two: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    product: NDArray[np.float32] = (one * two).sum(axis=1) / norms
    return product


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_points_the_same_way(clip: Saved, dtype: str, pixels: NDArray[np.uint8]) -> None:
    exact = clip.backend()(pixels, output="pooled", device="cpu")
    vectors = clip.backend(dtype=dtype)(pixels, output="pooled", device="cpu")
    assert vectors.dtype == np.float32
    assert not np.array_equal(vectors, exact)
    assert cosines(vectors, exact).min() > 0.999


def test_auto_is_float32_on_the_cpu(clip: Saved, pixels: NDArray[np.uint8]) -> None:
    automatic, exact = (
        clip.backend(dtype=dtype)(pixels, output="pooled", device="cpu") for dtype in ("auto", "float32")
    )
    np.testing.assert_array_equal(automatic, exact)


def test_a_dtype_may_be_torchs_own(clip: Saved) -> None:
    assert clip.backend(dtype=torch.bfloat16).fingerprint == clip.backend(dtype="bfloat16").fingerprint


@pytest.mark.parametrize("dtype", ["int8", "floaty", "", None])
def test_a_dtype_that_torch_has_not_is_refused_with_those_it_has(clip: Saved, dtype: str) -> None:
    with pytest.raises(ConfigurationError, match="auto, float32, float16, bfloat16"):
        clip.backend(dtype=dtype)


def test_an_unknown_device_is_refused_with_those_that_are_there(clip: Saved) -> None:
    with pytest.raises(ConfigurationError, match=r"no device 'gpu7'.*cpu"):
        clip.backend(device="gpu7")


def test_a_device_may_be_torchs_own(clip: Saved) -> None:
    assert clip.backend(device=torch.device("cpu")).dimension == 16


def test_the_cpu_is_always_among_the_devices_and_last(clip: Saved) -> None:
    assert clip.backend().devices[-1] == "cpu"


def test_normalized_float_pixels_pass_as_they_are(clip: Saved, pixels: NDArray[np.uint8]) -> None:
    expected = clip.backend()(pixels, output="pooled", device="cpu")
    # Another mean and std, which must not be applied.
    backend = clip.backend(pixel_format=replace(PIXEL_FORMAT, mean=(0.0, 0.0, 0.0), std=(9.0, 9.0, 9.0)))
    vectors = backend(normalize(pixels).numpy(), output="pooled", device="cpu")
    np.testing.assert_allclose(vectors, expected, atol=1e-5)


def test_read_only_pixels_are_taken_and_left_as_they_are(clip: Saved, pixels: NDArray[np.uint8]) -> None:
    backend = clip.backend()
    expected = backend(pixels, output="pooled", device="cpu")
    before = pixels.copy()
    pixels.flags.writeable = False
    np.testing.assert_array_equal(backend(pixels, output="pooled", device="cpu"), expected)
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("view", [np.s_[::-1], np.s_[:, ::-1], np.s_[..., ::-1]], ids=["batch", "rows", "colors"])
def test_views_with_turned_axes_are_taken(clip: Saved, view: tuple[slice], pixels: NDArray[np.uint8]) -> None:
    backend = clip.backend()
    expected = backend(pixels[view].copy(), output="pooled", device="cpu")
    np.testing.assert_array_equal(backend(pixels[view], output="pooled", device="cpu"), expected)


def test_several_threads_get_what_one_gets(clip: Saved, pixels: NDArray[np.uint8]) -> None:
    backend = clip.backend()
    expected = backend(pixels, output="tokens", device="cpu")
    with ThreadPoolExecutor(8) as pool:
        for tokens in pool.map(lambda _: backend(pixels, output="tokens", device="cpu"), range(32)):
            np.testing.assert_array_equal(tokens, expected)


def test_several_threads_load_at_once(each: Saved, pixels: NDArray[np.uint8]) -> None:
    expected = each.backend()(pixels, output="pooled", device="cpu")
    with ThreadPoolExecutor(4) as pool:
        for backend in pool.map(lambda _: each.backend(), range(8)):
            np.testing.assert_array_equal(backend(pixels, output="pooled", device="cpu"), expected)


def test_a_pickle_gives_the_same_vectors_and_carries_no_weights(each: Saved, pixels: NDArray[np.uint8]) -> None:
    backend = each.backend()
    pickled = pickle.dumps(backend)
    assert len(pickled) < 10_000 < (each.folder / "model.safetensors").stat().st_size
    restored = pickle.loads(pickled)
    expected = backend(pixels, output="pooled", device="cpu")
    np.testing.assert_array_equal(restored(pixels, output="pooled", device="cpu"), expected)


def test_a_pickle_keeps_every_setting(save: Callable[..., Saved]) -> None:
    backend = save("dinov2").backend(
        pixel_format=replace(PIXEL_FORMAT, size=(48, 32), mean=(0.1, 0.2, 0.3)), dtype="bfloat16"
    )
    assert pickle.loads(pickle.dumps(backend)).fingerprint == backend.fingerprint


@dataclass(frozen=True)
class Elsewhere:
    """What another process made of a pickled backend, and what it said."""

    vectors: NDArray[np.float32]
    fingerprint: str
    said: tuple[str, str]


@pytest.fixture(scope="module")
def elsewhere(clip: Saved, tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "backend.pickle").write_bytes(pickle.dumps(clip.backend()))
    np.save(folder / "pixels.npy", noise())
    program = (
        "import logging, numpy, pathlib, pickle\n"
        "logging.basicConfig(level=logging.WARNING)\n"
        "with open('backend.pickle', 'rb') as file: backend = pickle.load(file)\n"
        "pixels = numpy.load('pixels.npy')\n"
        "backend(pixels, output='tokens', device=backend.devices[0])\n"
        "numpy.save('vectors.npy', backend(pixels, output='pooled', device='cpu'))\n"
        "pathlib.Path('fingerprint').write_text(backend.fingerprint)\n"
    )
    command = [sys.executable, "-W", "always", "-c", program]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    return Elsewhere(
        vectors=np.load(folder / "vectors.npy"),
        fingerprint=(folder / "fingerprint").read_text(),
        said=(done.stdout, done.stderr),
    )


def test_another_process_makes_the_same_vectors_of_a_pickle(
    clip: Saved, elsewhere: Elsewhere, pixels: NDArray[np.uint8]
) -> None:
    backend = clip.backend()
    assert elsewhere.fingerprint == backend.fingerprint
    expected = backend(pixels, output="pooled", device="cpu")
    np.testing.assert_allclose(elsewhere.vectors, expected, atol=1e-6)


def test_loading_and_encoding_say_nothing(elsewhere: Elsewhere) -> None:
    assert elsewhere.said == ("", "")


def test_the_same_files_elsewhere_have_the_same_fingerprint(clip: Saved, tmp_path: Path) -> None:
    shutil.copytree(clip.folder, tmp_path / "copy")
    copied = TorchBackend(open_checkpoint(tmp_path / "copy"), pixel_format=PIXEL_FORMAT, device="cpu")
    assert copied.fingerprint == clip.backend().fingerprint


def test_auto_has_the_fingerprint_of_the_dtype_that_it_means(clip: Saved) -> None:
    assert clip.backend(dtype="auto").fingerprint == clip.backend(dtype="float32").fingerprint


def test_auto_means_one_dtype_on_every_device(clip: Saved, monkeypatch: pytest.MonkeyPatch) -> None:
    # Where there is no GPU, a second name of the CPU stands for one.
    monkeypatch.setattr(torch_backends, "torch_devices", lambda: ("cpu", "cpu:0"))
    monkeypatch.setattr(
        torch_backends, "dtype_on", lambda device, _: torch.float16 if device == "cpu:0" else torch.float32
    )
    backend = clip.backend(dtype="auto", device="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    first, second = (backend(pixels, output="pooled", device=device) for device in ("cpu", "cpu:0"))
    np.testing.assert_allclose(second, first, rtol=1e-5, atol=1e-6)


def test_whatever_changes_the_vectors_changes_the_fingerprint(save: Callable[..., Saved]) -> None:
    saved = save("dinov2")
    backends = [
        saved.backend(),
        saved.backend(dtype="float16"),
        saved.backend(pixel_format=replace(PIXEL_FORMAT, mean=(0.0, 0.46, 0.41))),
        saved.backend(pixel_format=replace(PIXEL_FORMAT, std=(0.27, 0.26, 1.0))),
        saved.backend(pixel_format=replace(PIXEL_FORMAT, size=(48, 32))),
        save("dinov2", seed=1).backend(),
    ]
    assert len({backend.fingerprint for backend in backends}) == len(backends)
