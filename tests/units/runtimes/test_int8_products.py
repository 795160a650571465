"""int8 on processors with and without VNNI: products are right on all of them, and none is slower than float32.

In ONNX Runtime, of a table only the rows that are read become float, and convolutions stay in float.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from numpy.typing import NDArray
from packaging.version import Version
from PIL import Image

from clip_image_encoder import PixelFormat, TextEncoder
from clip_image_encoder.backends import _onnx_int8
from clip_image_encoder.backends import openvino as openvino_backend
from clip_image_encoder.backends._calibration import Calibration
from clip_image_encoder.backends._onnx_int8 import int8_options, scale_rows_that_are_read
from clip_image_encoder.backends._openvino_int8 import in_float
from clip_image_encoder.backends._quality import compared
from clip_image_encoder.backends.onnx import OnnxBackend
from clip_image_encoder.backends.openvino import OpenVino, OpenVinoBackend
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes
from tests.units.backends.conftest import Saved
from tests.units.backends.conftest import save as save
from tests.units.backends.families import IMAGE_SIZE, MEAN, STD

PIXEL_FORMAT = PixelFormat(size=(64, 64), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
PIXELS = np.stack([np.asarray(draw(scene)) for scene in random_scenes(32, canvas=(64, 64))])


def load(kind: Any, dtype: str) -> Any:
    return kind(open_checkpoint("tiny-shapes"), pixel_format=PIXEL_FORMAT, dtype=dtype, device="cpu")


def vectors(backend: Any) -> NDArray[np.float32]:
    pooled: NDArray[np.float32] = backend(PIXELS, output="pooled", device="cpu")
    return pooled


@pytest.fixture(scope="module")
def onnx_file() -> Path:
    file: Path = load(OnnxBackend, "int8").file
    return file


@pytest.fixture(scope="module")
def onnx_text_file() -> Path:
    backend: Any = TextEncoder("tiny-shapes", backend="onnx", dtype="int8", device="cpu").backend
    file: Path = backend.file
    return file


@pytest.fixture(scope="module")
def openvino_file() -> Path:
    file: Path = load(OpenVinoBackend, "int8").file
    return file


def optimized(file: Path, folder: Path) -> Any:
    """Return what ONNX Runtime makes of an int8 graph."""
    options = onnxruntime.SessionOptions()
    left_out = int8_options(options)
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"], disabled_optimizers=left_out)
    return graph_of(folder / "optimized.onnx")


def graph_of(file: Path) -> Any:
    return onnx.load(file, load_external_data=False).graph


def dequantized(nodes: Iterable[Any]) -> set[str]:
    """Return the names of the values that are turned from int8 into float."""
    return {node.output[0] for node in nodes if node.op_type == "DequantizeLinear"}


def test_onnx_runtime_computes_every_linear_layer_in_int8(onnx_file: Path, tmp_path: Path) -> None:
    nodes = graph_of(onnx_file).node
    fitted = dequantized(nodes)
    of_attention = [node for node in nodes if node.op_type == "MatMul" and fitted.isdisjoint(node.input)]
    operators = Counter(node.op_type for node in optimized(onnx_file, tmp_path).node)
    assert operators["MatMulIntegerToFloat"] > len(of_attention)
    assert operators["MatMul"] + operators["FusedMatMul"] == len(of_attention)


@pytest.mark.parametrize("file", ["onnx_file", "onnx_text_file"])
def test_onnx_runtime_scales_only_the_rows_of_a_table_that_are_read(file: str, request: pytest.FixtureRequest) -> None:
    nodes = graph_of(request.getfixturevalue(file)).node
    tables = [node.input[0] for node in nodes if node.op_type == "Gather"]
    assert tables
    assert dequantized(nodes).isdisjoint(tables)


def test_onnx_runtime_convolves_in_float_without_conversions(save: Callable[..., Saved]) -> None:
    pixel_format = PixelFormat(size=(IMAGE_SIZE, IMAGE_SIZE), mean=MEAN, std=STD)
    checkpoint = open_checkpoint(save("align").folder)
    backend = OnnxBackend(checkpoint, pixel_format=pixel_format, dtype="int8", device="cpu")
    nodes = graph_of(backend.file).node
    convolutions = [node for node in nodes if node.op_type == "Conv"]
    assert convolutions
    assert all(dequantized(nodes).isdisjoint(node.input) for node in convolutions)


def test_rows_that_are_scaled_after_they_are_read_have_the_same_numbers() -> None:
    random = np.random.default_rng(0)
    table = random.integers(-128, 128, (50, 8), np.int8)
    constants = {"table": table, "scales": random.random(50, np.float32), "zeros": np.zeros(50, np.int8)}
    graph = onnx.helper.make_graph(
        [
            onnx.helper.make_node("DequantizeLinear", [*constants], ["scaled"], axis=0),
            onnx.helper.make_node("Gather", ["scaled", "ids"], ["rows"]),
        ],
        "lookup",
        [onnx.helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, ["n", "length"])],
        [onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.FLOAT, ["n", "length", 8])],
        [onnx.numpy_helper.from_array(values, name) for name, values in constants.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=8)
    inputs = {"ids": random.integers(0, 50, (3, 5))}
    expected = onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)[0]
    scale_rows_that_are_read(model.graph)
    assert np.array_equal(onnxruntime.InferenceSession(model.SerializeToString()).run(None, inputs)[0], expected)
    assert "DequantizeLinear" not in {node.op_type for node in model.graph.node}


@pytest.mark.skipif(
    Version(onnxruntime.__version__) < Version("1.32"), reason="it looks at the processor itself, which may have VNNI"
)
@pytest.mark.parametrize(("exact", "dtype"), [(True, onnx.TensorProto.INT8), (False, onnx.TensorProto.UINT8)])
def test_weights_become_uint8_in_onnx_runtime_where_products_with_int8_are_wrong(
    exact: bool, dtype: int, onnx_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_onnx_int8, "products_are_exact", lambda: exact)
    graph = optimized(onnx_file, tmp_path)
    dtypes = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert {dtypes[node.input[1]] for node in graph.node if node.op_type == "MatMulIntegerToFloat"} == {dtype}


def test_onnx_int8_is_as_near_to_float32_without_exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_onnx_int8, "products_are_exact", lambda: False)
    found = compared(vectors(load(OnnxBackend, "float32")), vectors(load(OnnxBackend, "int8")))
    assert found.mean > 0.998, found


def test_openvino_int8_is_nearer_to_float32_without_exact_products(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = vectors(load(OpenVinoBackend, "float32"))
    monkeypatch.setattr(openvino_backend, "products_are_exact", lambda core: False)
    backend = load(OpenVinoBackend, "int8")
    found = compared(exact, vectors(backend))
    assert found.worst > max(0.999, backend.quality.worst), found


def test_openvino_int8_of_other_images_than_drawings_loads_without_exact_products(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In float32 its vector of the known drawing is right, and far from that of int8, whose ranges cut it off."""
    photos = [Image.effect_noise((64, 64), 90).convert("RGB"), Image.radial_gradient("L").convert("RGB")]
    calibration = Calibration(np.stack([np.asarray(photo.resize((64, 64))) for photo in photos]))
    monkeypatch.setattr(openvino_backend, "products_are_exact", lambda core: False)
    load(partial(OpenVinoBackend, calibration=calibration, least_cosine=0.5), "int8")


def test_openvino_has_no_int8_left_without_exact_products(openvino_file: Path) -> None:
    model = in_float(openvino.Core().read_model(openvino_file), keep_steps=False)
    kinds = Counter(node.get_type_name() for node in model.get_ops())
    assert not kinds["FakeQuantize"]
    of_weights = [node for node in model.get_ops() if node.get_type_name() == "Constant" and len(node.shape) == 2]
    assert of_weights
    assert not [node for node in of_weights if node.get_element_type() == openvino.Type.i8]


def test_openvino_is_fitted_by_what_int8_gives_with_exact_products(
    openvino_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = OpenVino(dtype="int8")
    monkeypatch.setattr(openvino_backend, "products_are_exact", lambda core: False)
    run = runtime.open_exactly(openvino_file)
    made = np.concatenate([run(image[None]) for image in PIXELS])
    found = compared(vectors(load(OpenVinoBackend, "float32")), made)
    assert 0.995 < found.mean < 0.99995, found


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="other processors add products in 32 bits")
def test_a_processor_without_vnni_is_seen_and_told_of() -> None:
    program = (
        "import openvino; from clip_image_encoder.backends._openvino_int8 import products_are_exact;"
        "print(products_are_exact(openvino.Core()))"
    )
    kept_to_avx2 = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", program], env=kept_to_avx2, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert "int8 graphs are computed in float32 here" in done.stderr
