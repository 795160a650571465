"""What ONNX Runtime needs to compute all int8 products of a graph in int8, and to compute them right.

Measured on trained weights (a DINOv2-small, batches of 4, one thread): as NNCF leaves the graph, int8 takes 0.63 of
float32's time, because 36 of 73 products, those of queries, keys and values, run in float between two conversions; as
it is changed here, 0.50.
"""

from __future__ import annotations

from collections import Counter
from functools import cache
from typing import Any

import numpy as np

from clip_image_encoder.backends._telemetry import without_telemetry

with without_telemetry():
    import onnxruntime

__all__ = ["give_each_product_its_steps", "int8_options", "products_are_exact"]

_BYTE, _WEIGHT = 255, 127
"""The largest of an input's steps, and of a weight's: two such products are more than 16 bits hold."""

_SIZE = 4

# An ONNX model of one operator, MatMulInteger, of 4 x 4 uint8 by 4 x 4 int8: onnx.helper.make_model, serialized.
_PRODUCT = (
    b'\x08\x08:\\\n\x18\n\x01a\n\x01b\x12\x01y"\rMatMulInteger\x12\x01g'
    b"Z\x13\n\x01a\x12\x0e\n\x0c\x08\x02\x12\x08\n\x02\x08\x04\n\x02\x08\x04"
    b"Z\x13\n\x01b\x12\x0e\n\x0c\x08\x03\x12\x08\n\x02\x08\x04\n\x02\x08\x04"
    b"b\x13\n\x01y\x12\x0e\n\x0c\x08\x06\x12\x08\n\x02\x08\x04\n\x02\x08\x04B\x04\n\x00\x10\n"
)


@cache
def products_are_exact() -> bool:
    """Return whether the CPU's int8 products are right, whatever the numbers.

    Without VNNI, an x86 processor adds two products of bytes in 16 bits, and what does not fit is cut off. One product
    is computed to see it: which instructions a processor has is asked differently on each operating system.
    """
    session = onnxruntime.InferenceSession(_PRODUCT, providers=["CPUExecutionProvider"])
    inputs = {"a": np.full((_SIZE, _SIZE), _BYTE, np.uint8), "b": np.full((_SIZE, _SIZE), _WEIGHT, np.int8)}
    return bool((session.run(None, inputs)[0] == _SIZE * _BYTE * _WEIGHT).all())


def int8_options(options: onnxruntime.SessionOptions) -> list[str]:
    """Set what an int8 graph needs on the CPU, and return the names of the optimizers that must not run.

    Without VNNI, weights become uint8 when the graph is loaded, whose products are right everywhere. On the DINOv2,
    kept to AVX2, a mean cosine of 0.991 to float32 becomes 0.9987, as with VNNI, at 0.71 of float32's time instead
    of 0.64.

    Args:
        options: Of the session that will load it; changed in place.
    """
    if not products_are_exact():
        options.add_session_config_entry("session.x64quantprecision", "1")
    return ["CommonSubexpressionElimination"]  # or else the steps are shared again


def give_each_product_its_steps(graph: Any) -> None:
    """Let no two matrix products share the node that puts their input on its steps, which changes no number.

    ONNX Runtime makes one int8 operator of a product and the nodes around it only where they belong to that product
    alone. NNCF lets queries, keys and values share theirs.

    Args:
        graph: An ONNX graph; changed in place.
    """
    made_by = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input)
    nodes = []
    for node in graph.node:
        scaled = made_by.get(node.input[0]) if node.op_type == "MatMul" else None
        stepped = made_by.get(scaled.input[0]) if scaled and scaled.op_type == "DequantizeLinear" else None
        if scaled and stepped and uses[scaled.output[0]] > 1:
            uses[scaled.output[0]] -= 1
            own_steps, own_scale = _copied(stepped, node.name), _copied(scaled, node.name)
            own_scale.input[0], node.input[0] = own_steps.output[0], own_scale.output[0]
            nodes += [own_steps, own_scale]
        nodes.append(node)
    del graph.node[:]
    graph.node.extend(nodes)


def _copied(node: Any, suffix: str) -> Any:
    copy = type(node)()
    copy.CopyFrom(node)
    copy.name, copy.output[0] = f"{node.name}_{suffix}", f"{node.output[0]}_{suffix}"
    return copy
