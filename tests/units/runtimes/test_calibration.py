"""int8 is fitted to images, the caller's own or drawn ones, and compared with float32."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file

from clip_image_encoder import BackendError, ConfigurationError, MissingExtraError, tiny_shapes
from clip_image_encoder.backends import _calibration, find_backend
from clip_image_encoder.backends._calibration import Calibration, Quantizer
from clip_image_encoder.backends._fitting import PLANS, Plan
from clip_image_encoder.backends._graph import VisionGraph
from clip_image_encoder.backends._quality import Quality, compared, quality_of, tell_quality
from clip_image_encoder.backends._reference import Reference
from clip_image_encoder.backends.onnx import OnnxRuntime
from clip_image_encoder.backends.openvino import OpenVino
from clip_image_encoder.checkpoint import Checkpoint, open_checkpoint
from clip_image_encoder.preprocess import preprocess_of
from clip_image_encoder.protocols import Backend
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes

# tiny-shapes' own, so that its graphs are those of other tests, too.
PIXEL_FORMAT = preprocess_of(open_checkpoint("tiny-shapes").preprocessor_config).pixel_format
PIXELS = np.random.default_rng(0).integers(0, 256, (8, 64, 64, 3), dtype=np.uint8)


@pytest.fixture
def load(runtime: str) -> Any:
    def load_int8(checkpoint: Checkpoint | None = None, **settings: Any) -> Backend:
        return find_backend(runtime)(
            checkpoint or open_checkpoint("tiny-shapes"),
            pixel_format=PIXEL_FORMAT,
            dtype="int8",
            device="cpu",
            **settings,
        )

    return load_int8


def test_other_images_give_other_ranges_and_another_fingerprint(load: Any) -> None:
    drawn, noise = load(), load(calibration=Calibration(PIXELS))
    one, other = (backend(PIXELS, output="pooled", device="cpu") for backend in (drawn, noise))
    assert not np.array_equal(one, other)
    assert drawn.fingerprint != noise.fingerprint


def test_the_same_images_give_the_same_fingerprint(load: Any) -> None:
    one, two = load(calibration=Calibration(PIXELS)), load(calibration=Calibration(PIXELS.copy()))
    assert one.fingerprint == two.fingerprint


def test_images_that_lead_to_other_vectors_than_float32_has_are_refused(load: Any) -> None:
    with pytest.raises(BackendError, match=r"drawings have a mean cosine of 0\.\d\d .*need 0\.9; give a Calibration"):
        load(calibration=Calibration(np.zeros_like(PIXELS)))


def test_how_near_int8_is_to_float32_is_measured_and_shown(load: Any) -> None:
    backend = load()
    assert 0.98 < backend.quality.worst <= backend.quality.mean <= 1
    assert backend.quality.same_nearest > 0.9
    assert f"mean cosine {backend.quality.mean:.4f}, worst {backend.quality.worst:.4f}, the same" in repr(backend)


def test_less_than_is_wanted_is_an_error_unless_it_is_asked_for(load: Any) -> None:
    with pytest.raises(BackendError, match=r"mean cosine 0\.9\d+.*the mean has to be 1\.0.*least_cosine="):
        load(least_cosine=1.0)
    assert load(least_cosine=0.5).quality == load().quality


@pytest.fixture(scope="module")
def outliers(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """tiny-shapes, in which two channels of each MLP are 50 times as strong, as some are in trained ViTs."""
    folder = tmp_path_factory.mktemp("outliers") / "checkpoint"
    shutil.copytree(Path(tiny_shapes.__file__).parent / "checkpoint", folder)
    weights = load_file(folder / "model.safetensors")
    for name in weights:
        if name.startswith("vision_model") and name.endswith("mlp.fc1.weight"):
            weights[name][:2] *= 50
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return open_checkpoint(str(folder))


def test_a_tower_with_outlier_channels_stays_near_float32(load: Any, outliers: Checkpoint) -> None:
    few = np.stack([np.asarray(draw(scene)) for scene in random_scenes(16, seed=0, canvas=(64, 64))])
    quality = load(outliers, calibration=Calibration(few)).quality
    assert quality.mean > 0.995, quality
    assert quality.worst > 0.98, quality


def test_the_first_plan_that_is_near_enough_is_taken(
    quantizer: Quantizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = with_qualities(monkeypatch, 0.9, 0.996, 0.999)
    fitted = with_marks(quantizer).quantized(GRAPH, tmp_path / "graph", None)
    assert (fitted.read_text(), quality_of(fitted)) == (str(PLANS[1]), tried[1])
    assert not [part for part in fitted.parent.iterdir() if part.is_dir()]


def test_the_nearest_plan_is_taken_where_none_is_near_enough(
    quantizer: Quantizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = with_qualities(monkeypatch, 0.985, 0.991, 0.99)
    fitted = with_marks(quantizer).quantized(GRAPH, tmp_path / "graph", None)
    assert (fitted.read_text(), quality_of(fitted)) == (str(PLANS[1]), tried[1])


def with_qualities(monkeypatch: pytest.MonkeyPatch, *means: float) -> list[Quality]:
    """Let the comparisons with float32 give these."""
    qualities = [Quality(mean=mean, worst=mean, same_nearest=1.0) for mean in means]
    left = iter(qualities)
    monkeypatch.setattr(_calibration, "compared", lambda exact, fitted: next(left))
    return qualities


def with_marks(quantizer: Quantizer) -> Quantizer:
    """Return a quantizer whose graphs tell their plan."""

    def write(file: Path, samples: object, plan: Plan, target: Path) -> None:
        target.write_text(str(plan))

    return dataclasses.replace(quantizer, quantize=write)


def test_what_int8_costs_is_said_where_it_is_much(caplog: pytest.LogCaptureFixture) -> None:
    tell_quality("model", None)
    tell_quality("model", Quality(mean=0.996, worst=0.9, same_nearest=0.5))
    assert not caplog.messages
    tell_quality("model", Quality(mean=0.985, worst=0.95, same_nearest=0.5))
    (message,) = caplog.messages
    assert message.startswith("model in int8 has a mean cosine 0.9850, worst 0.9500, the same nearest for 50%")


def test_quality_is_made_of_cosines_and_of_nearest_neighbours() -> None:
    exact = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0.9, 0.1]], np.float32)
    assert compared(exact, exact * 3) == Quality(mean=1.0, worst=1.0, same_nearest=1.0)
    other = np.array([[1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [1, 0, 0]], np.float32)
    found = compared(exact, other)
    assert (found.mean, found.worst, found.same_nearest) == (0.75, 0.0, 0.25)


def test_no_images_are_refused_at_once() -> None:
    with pytest.raises(ConfigurationError, match="has no images; give a few hundred"):
        Calibration(PIXELS[:0])


GRAPH = VisionGraph(
    checkpoint=open_checkpoint("tiny-shapes"),
    pixel_format=PIXEL_FORMAT,
    output="pooled",
    pixels="uint8",
)


@pytest.fixture
def quantizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Quantizer:
    """What copies graphs, whose features are the image's first pixels."""

    def run_here(job: Callable[[], Any], *, near: Path) -> Any:
        return job()

    def copy(file: Path, samples: object, plan: Plan, target: Path) -> None:
        shutil.copy(file, target)

    monkeypatch.setattr("huggingface_hub.constants.HF_HOME", str(tmp_path))
    monkeypatch.setattr(_calibration, "run_apart", run_here)
    (tmp_path / "graph").write_bytes(b"graph")
    Reference(inputs=(PIXELS[:1],), vector=first_pixels(PIXELS[:1])[0]).write(tmp_path)
    return Quantizer(runtime="toy 1", quantize=copy, open_exactly=lambda file: first_pixels, name="copy")


def first_pixels(*inputs: NDArray[Any]) -> NDArray[np.float32]:
    (pixels,) = inputs
    first: NDArray[np.float32] = pixels[:, 0, :8, 0].astype(np.float32) + 1
    return first


def test_a_graph_is_found_again(quantizer: Quantizer, tmp_path: Path) -> None:
    one, two = (quantizer.quantized(GRAPH, tmp_path / "graph", None) for _ in range(2))
    assert one == two


def test_another_version_of_the_runtime_makes_another_graph(quantizer: Quantizer, tmp_path: Path) -> None:
    other = dataclasses.replace(quantizer, runtime="toy 2")
    assert other.quantized(GRAPH, tmp_path / "graph", None) != quantizer.quantized(GRAPH, tmp_path / "graph", None)


def test_another_version_of_nncf_makes_another_graph(
    quantizer: Quantizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = quantizer.quantized(GRAPH, tmp_path / "graph", None)
    monkeypatch.setattr(_calibration, "version", lambda package: f"{package} of tomorrow")
    assert quantizer.quantized(GRAPH, tmp_path / "graph", None) != before


def test_both_versions_are_part_of_the_fingerprint_of_int8_only(runtime: str) -> None:
    kind = OnnxRuntime if runtime == "onnx" else OpenVino
    assert f"scheme 6, nncf {version('nncf')}, {runtime}" in kind(dtype="int8").fingerprint
    assert kind(dtype="float32").fingerprint == f"{kind.__name__}(dtype='float32', calibration=None)"


def test_int8_without_nncf_says_what_to_install(quantizer: Quantizer, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(_calibration, "version", not_found)
    with pytest.raises(MissingExtraError, match=r"pip install 'clip-image-encoder\[export\]'"):
        _ = quantizer.versions
