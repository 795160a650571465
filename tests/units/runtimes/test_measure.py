"""Which backend and dtype are fastest here: all of them are tried, and compared with float32."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder.__main__ import main
from clip_image_encoder.backends import available_backends
from clip_image_encoder.export import export
from clip_image_encoder.measure import Measured, Measurement, measure


def measured(backend: str, times_faster: float, mean: float) -> Measured:
    return Measured(backend=backend, dtype="int8", times_faster=times_faster, mean=mean, worst=mean, same_nearest=1.0)


@pytest.fixture(scope="module")
def found() -> Measurement:
    return measure("tiny-shapes", batch_size=2)


def test_every_backend_and_dtype_is_measured_or_left_out_with_the_reason(found: Measurement) -> None:
    seen = [(each.backend, each.dtype) for each in found.measured]
    missing = [(each.backend, each.dtype) for each in found.left_out]
    assert sorted(seen + missing) == [
        (backend, dtype) for backend in available_backends() for dtype in ("bfloat16", "float32", "int8")
    ]
    assert {("torch", "int8"), ("onnx", "bfloat16")} <= set(missing)
    assert all("no dtype" in each.reason or "bfloat16" in each.reason for each in found.left_out)


def test_the_fastest_comes_first(found: Measurement) -> None:
    ratios = [each.times_faster for each in found.measured]
    assert ratios == sorted(ratios, reverse=True)


def test_float32_is_what_the_others_are_compared_with(found: Measurement) -> None:
    float32 = [each for each in found.measured if each.dtype == "float32"]
    assert [each.mean for each in float32] == [1.0] * len(available_backends())
    assert next(each.times_faster for each in float32 if each.backend == "torch") == 1.0


def test_what_is_found_makes_an_encoder(found: Measurement) -> None:
    best = found.fastest()
    assert ImageEncoder("tiny-shapes", backend=best.backend, dtype=best.dtype, device="cpu").dimension == 64


def test_what_is_too_far_from_float32_is_passed_over() -> None:
    choices = (measured("quick", 4.0, 0.9), measured("near", 2.0, 0.995), measured("exact", 1.0, 1.0))
    found = Measurement(measured=choices, left_out=())
    chosen = [found.fastest(least_cosine=least).backend for least in (0.8, 0.99, 0.999)]
    assert chosen == ["quick", "near", "exact"]


def test_what_was_measured_is_kept(found: Measurement, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("clip_image_encoder.measure._measured")
    assert measure("tiny-shapes", batch_size=2) == found


@pytest.fixture
def rounds(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of images at a time of what is measured while a test runs; nothing is timed."""
    measured_with: list[int] = []

    def noted(_load: object, _pixels: object, batch_size: int) -> Measurement:
        measured_with.append(batch_size)
        return Measurement(measured=(measured("quick", float(len(measured_with)), 0.9),), left_out=())

    monkeypatch.setattr("clip_image_encoder.measure._measured", noted)
    return measured_with


def test_what_was_measured_may_be_measured_again(rounds: list[int]) -> None:
    ratios = [
        measure("tiny-shapes", batch_size=3, again=again).measured[0].times_faster for again in (True, True, False)
    ]
    assert ratios == [1.0, 2.0, 2.0]


@pytest.mark.parametrize("changed", ["_machine", "_versions"])
def test_another_processor_and_other_versions_are_measured_for_themselves(
    rounds: list[int], changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch_size = {"_machine": 6, "_versions": 7}[changed]  # the cache is that of all tests
    measure("tiny-shapes", batch_size=batch_size)
    monkeypatch.setattr(f"clip_image_encoder.measure.{changed}", lambda: "another")
    for _ in range(2):
        measure("tiny-shapes", batch_size=batch_size)
    assert rounds == [batch_size, batch_size]


def test_other_images_are_measured_for_themselves(rounds: list[int]) -> None:
    for color in ("red", "blue", "red"):
        measure("tiny-shapes", images=[Image.new("RGB", (64, 64), color)], batch_size=5)
    assert rounds == [5, 5]


def test_an_exported_folder_is_refused(tmp_path: Path) -> None:
    export("tiny-shapes", tmp_path / "made", texts=False)
    with pytest.raises(ConfigurationError, match="exported folder, which runs in one dtype of one backend"):
        measure(tmp_path / "made")


def test_no_images_are_an_error() -> None:
    with pytest.raises(ConfigurationError, match="measuring needs images"):
        measure("tiny-shapes", images=[])


def test_the_command_prints_a_line_for_each(
    found: Measurement, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("clip_image_encoder.measure.measure", lambda *_arguments, **_settings: found)
    assert main(["measure", "tiny-shapes"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split()[:2] == ["backend", "dtype"]
    assert [tuple(line.split()[:2]) for line in lines[: len(found.measured)]] == [
        (each.backend, each.dtype) for each in found.measured
    ]
    assert "left out: torch in int8: torch has no dtype" in "\n".join(lines)


def test_the_command_measures_with_the_images_of_a_folder(
    photo_paths: list[Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Path] = []

    def noted(_model: str, *, images: list[Path], again: bool, revision: str | None) -> Measurement:
        given.extend(images)
        return Measurement(measured=(measured("quick", 4.0, 0.9),), left_out=())

    monkeypatch.setattr("clip_image_encoder.measure.measure", noted)
    with pytest.warns(UserWarning, match="left out"):  # scikit-learn's folder has other files, too
        assert main(["measure", "tiny-shapes", "--images", str(photo_paths[0].parent), "--json"]) == 0
    assert given == photo_paths
    assert json.loads(capsys.readouterr().out)["measured"][0]["backend"] == "quick"
