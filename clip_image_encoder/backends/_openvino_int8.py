"""Where OpenVINO computes int8 graphs in float32, since its int8 products are wrong and slow on the processor at hand.

Without VNNI, an x86 processor adds two products of bytes in 16 bits, and what does not fit is cut off. What follows, on
trained weights (a DINOv2-small, 42 photos, OpenVINO kept to AVX2 by ONEDNN_MAX_CPU_ISA): a graph whose vectors have a
mean cosine of 0.9986 to float32 with VNNI has 0.991 without, and takes 1.3 times as long as float32, because oneDNN
has no blocked int8 product for AVX2, only an old one that takes nearly twice the time of the float32 one.

So the bytes of the weights become float32 when such a graph is loaded. Its vectors have 0.9998 to float32, and 0.9989
to those of a processor with VNNI, which is as near as two processors with VNNI are to each other (0.9990). With
AVX-512 and without VNNI, int8 would be 1.6 times as fast as float32, and as wrong.
"""

from __future__ import annotations

import logging
from functools import cache

import numpy as np
import openvino
from openvino import opset13 as operators
from openvino.passes import ConstantFolding, Manager

__all__ = ["in_float", "products_are_exact"]

_logger = logging.getLogger(__name__)

_BYTE, _WEIGHT = 255, 127
"""The largest of an input's steps, and of a weight's: two such products are more than 16 bits hold."""

_SIZE = 64


@cache
def products_are_exact(core: openvino.Core) -> bool:
    """Return whether the CPU's int8 products are right, whatever the numbers.

    One product is computed by the kernel that a graph would be computed by: which instructions a processor has is asked
    differently on each operating system, and the same processor may be kept to fewer.

    Args:
        core: OpenVINO's.
    """
    product = core.compile_model(_largest_product(), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = product(np.full((_SIZE, _SIZE), _BYTE, np.float32))[0]
    exact = bool((found == _SIZE * _BYTE * _WEIGHT).all())
    if not exact:
        _logger.warning(
            "this processor has no VNNI, without which OpenVINO's int8 products are wrong: int8 graphs are computed in "
            "float32 here, as fast as dtype='float32'; backend='onnx' is faster in int8"
        )
    return exact


def in_float(model: openvino.Model, *, keep_steps: bool) -> openvino.Model:
    """Change an int8 graph in place to one of float32 products, with the weights of the int8 one.

    Args:
        model: The graph; one in float32 stays as it is.
        keep_steps: Whether inputs of products keep to the 256 steps that they have in int8, which tells what int8 gives
            on a processor with VNNI; without them vectors are nearer to float32.
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
