"""Graphs that OpenVINO has compiled: read from a file at later starts, whose memory goes back to the system."""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
from openvino import opset13 as operators

from clip_image_encoder.backends._openvino_compiled import Compiled, compiled_in

SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}
ROWS = np.random.default_rng(0).normal(size=(3, 1024)).astype(np.float32)
WEIGHTS = np.random.default_rng(1).normal(size=(1024, 1024)).astype(np.float32)


@pytest.fixture(scope="module")
def core() -> openvino.Core:
    return openvino.Core()


class Maker:
    """Compiles a product with weights of 4 MB, and counts how often."""

    def __init__(self, core: openvino.Core) -> None:
        self.core = core
        self.calls = 0

    def __call__(self) -> openvino.CompiledModel:
        self.calls += 1
        rows = operators.parameter([-1, 1024], np.float32)
        product = operators.matmul(rows, operators.constant(WEIGHTS), False, False)
        return self.core.compile_model(openvino.Model([product], [rows], "product"), "CPU", SETTINGS)


def product_of(compiled: Compiled) -> np.ndarray:
    found: np.ndarray = compiled.model(ROWS)[0]
    return found


def test_a_graph_is_compiled_once_and_read_from_its_file_later(core: openvino.Core, tmp_path: Path) -> None:
    make = Maker(core)
    first, second = (compiled_in(tmp_path / "compiled", "product", core, SETTINGS, make) for _ in range(2))
    assert make.calls == 1
    np.testing.assert_array_equal(product_of(first), product_of(second))
    np.testing.assert_allclose(product_of(second), ROWS @ WEIGHTS, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("other", ["name", "settings"])
def test_another_graph_and_other_settings_have_a_file_of_their_own(
    core: openvino.Core, tmp_path: Path, other: str
) -> None:
    make = Maker(core)
    compiled_in(tmp_path, "product", core, SETTINGS, make)
    name, settings = ("another", SETTINGS) if other == "name" else ("product", {**SETTINGS, "NUM_STREAMS": "1"})
    compiled_in(tmp_path, name, core, settings, make)
    assert make.calls == len(list(tmp_path.glob("*.blob"))) == 2


@pytest.mark.parametrize("harm", [lambda data: b"", lambda data: data[:-1000], lambda data: bytes(len(data))])
def test_a_damaged_file_is_written_anew(core: openvino.Core, tmp_path: Path, harm: Callable[[bytes], bytes]) -> None:
    make = Maker(core)
    expected = product_of(compiled_in(tmp_path, "product", core, SETTINGS, make))
    (file,) = tmp_path.glob("*.blob")
    file.write_bytes(harm(file.read_bytes()))
    np.testing.assert_array_equal(product_of(compiled_in(tmp_path, "product", core, SETTINGS, make)), expected)
    assert make.calls == 2


def test_nothing_unfinished_stays_where_the_disk_is_full(
    core: openvino.Core, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write_half(self: Path, data: memoryview) -> int:
        with self.open("wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="No space left"):
        compiled_in(tmp_path, "product", core, SETTINGS, Maker(core))
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def resident(file: Path) -> int:
    """Return how much of a mapped file is in this process's memory, in kilobytes (Linux)."""
    lines = Path("/proc/self/smaps").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.endswith(str(file)))
    return next(int(line.split()[1]) for line in lines[start:] if line.startswith("Rss:"))


@pytest.mark.skipif(sys.platform != "linux", reason="other systems don't say what is resident of a file")
def test_the_memory_of_the_file_is_given_back_and_the_product_stays(core: openvino.Core, tmp_path: Path) -> None:
    compiled = compiled_in(tmp_path, "product", core, SETTINGS, Maker(core))
    (file,) = tmp_path.glob("*.blob")
    expected = product_of(compiled)
    assert resident(file) > 4000
    compiled.give_back()
    assert resident(file) == 0
    np.testing.assert_array_equal(product_of(compiled), expected)
    assert resident(file) < 400
