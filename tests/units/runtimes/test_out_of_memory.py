"""A batch that doesn't fit into memory is halved, whatever words a runtime has for that."""

from __future__ import annotations

import subprocess
import sys

import pytest

# In a process that may have 6 GiB more than its runtimes reserve, which is more the more cores there are: each function
# asks its runtime for 16.
PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np, onnx, onnxruntime, openvino, torch
from onnx import TensorProto, helper
from PIL import Image
from clip_image_encoder import ImageEncoder
from clip_image_encoder.testing import ToyBackend

shape = np.array([2**16, 2**16])
graph = helper.make_graph(
    [helper.make_node("ConstantOfShape", ["shape"], ["zeros"])],
    "zeros",
    [helper.make_tensor_value_info("shape", TensorProto.INT64, [2])],
    [helper.make_tensor_value_info("zeros", TensorProto.FLOAT, None)],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
options = onnxruntime.SessionOptions()
options.log_severity_level = 4
session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
core = openvino.Core()
compiled = core.compile_model(core.read_model(model), "CPU")

small = np.array([64, 64])
session.run(None, {"shape": small}), compiled([small]), torch.ones(512, 512) @ torch.ones(512, 512)  # starts threads
reserved = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (reserved + (6 << 30),) * 2)

ask = {
    "onnx": lambda: session.run(None, {"shape": shape}),
    "openvino": lambda: compiled([shape]),
    "torch": lambda: torch.zeros(*shape.tolist()),
    "numpy": lambda: np.zeros(shape, np.float32),
}

class Small(ToyBackend):
    def __call__(self, pixels, /, *, output, device):
        if len(pixels) > 1:
            ask[name]()
        return super().__call__(pixels, output=output, device=device)

for name in ask:
    try:
        outcome = ImageEncoder(backend=Small()).encode([Image.new("RGB", (32, 32), "red")] * 4, batch_size=4).shape
    except Exception as error:
        outcome = error
    print(name, outcome)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps a process to a limit of its memory")
def test_each_runtime_that_is_out_of_memory_gets_half_the_batch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name} (4, 16)" for name in ("onnx", "openvino", "torch", "numpy")]
