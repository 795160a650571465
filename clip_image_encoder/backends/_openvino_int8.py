"""Compute int8 graphs in float32 on processors without VNNI, on which OpenVINO's int8 products are wrong and slow.

x86 processors without VNNI add two products of bytes in 16 bits, and the sum saturates. Measured on trained weights (a
DINOv2-small, 42 photos, OpenVINO restricted to AVX2 by ONEDNN_MAX_CPU_ISA): the vectors of a graph have a mean cosine
of 0.9986 to float32 with VNNI, and 0.991 without. They also take 1.3 times as long as float32, because oneDNN has no
blocked int8 product for AVX2, only an old one that takes nearly twice as long as the float32 product.

So the weights become float32 when such a graph is loaded on such a processor. Its vectors then have a mean cosine of
0.9998 to float32, and of 0.9989 to those of a processor with VNNI; two processors with VNNI have 0.9990 to each other.
With AVX-512 and without VNNI, int8 would be 1.6 times as fast as float32, and as wrong as with AVX2.
"""

from __future__ import annotations

import logging
from functools import cache

import numpy as np

from clip_image_encoder.backends._telemetry import without_telemetry

with without_telemetry():
    import openvino
    from openvino import opset13 as operators
    from openvino.passes import ConstantFolding, Manager

__all__ = ["in_float", "products_are_exact"]

_logger = logging.getLogger(__name__)

_BYTE, _WEIGHT = 255, 127
"""Largest values of a quantized input (uint8) and weight (int8); the sum of two such products overflows 16 bits."""

_SIZE = 64
"""Rows and columns of both matrices of the product that is computed as a test."""


@cache
def products_are_exact(core: openvino.Core) -> bool:
    """Tell whether int8 products are exact on this CPU for all inputs; log a warning if they are not.

    A product of the largest values is computed to find out, since each operating system reports a processor's
    instructions differently, and an environment variable can restrict OpenVINO to some of them.

    Args:
        core: OpenVINO's core, which computes the product.
    """
    product = core.compile_model(_largest_product(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = product(np.full((_SIZE, _SIZE), _BYTE, np.float32))[0]
    exact = bool((found == _SIZE * _BYTE * _WEIGHT).all())
    if not exact:
        _logger.warning(
            "this processor has no VNNI, so OpenVINO's int8 products would be wrong; int8 graphs are computed in "
            "float32 here, as fast as dtype='float32'; use backend='onnx' for a faster int8"
        )
    return exact


def in_float(model: openvino.Model, *, keep_steps: bool) -> openvino.Model:
    """Change an int8 graph in place, so that its products are computed in float32 with the values of its weights.

    Args:
        model: Graph that is changed and returned; a float32 graph stays as it is.
        keep_steps: Whether the inputs of products are still rounded to the 256 values that they have in int8. With
            rounding the vectors equal those of int8 on a processor with VNNI; without it they are nearer to float32.
    """
    if not keep_steps:
        for node in model.get_ops():
            if node.get_type_name() == "FakeQuantize":
                node.output(0).replace(node.input_value(0))
    manager = Manager()
    manager.register_pass(ConstantFolding())
    manager.run_passes(model)
    return model


def _largest_product() -> openvino.Model:
    pixels = operators.parameter([_SIZE, _SIZE], np.float32)
    low, high = np.float32(0), np.float32(_BYTE)
    steps = operators.fake_quantize(pixels, low, high, low, high, _BYTE + 1)
    bytes_of_weights = operators.convert(operators.constant(np.full((_SIZE, _SIZE), _WEIGHT, np.int8)), np.float32)
    weights = operators.multiply(bytes_of_weights, operators.constant(np.ones((_SIZE, 1), np.float32)))
    return openvino.Model([operators.matmul(steps, weights, False, True)], [pixels], "product")
