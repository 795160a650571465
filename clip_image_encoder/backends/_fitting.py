"""Turn a graph into int8 with NNCF: which products are quantized, and how; called in a process of its own.

Linear layers become int8, the products inside attention stay in float. Each choice was measured on trained weights: a
DINOv2-small that was fitted to 40 drawings, and tested with 42 photos that it was not fitted to. The comments give
the mean and the worst cosine to float32, in this order. All choices together, fitted to 128 drawings, gave 0.999 and
0.995; NNCF's defaults gave 0.981 and 0.957.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_image_encoder.backends._samples import Inputs

__all__ = ["PLANS", "Plan", "fit"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One way to quantize a tower.

    Attributes:
        smoothing: Share of the outlier channels' scale, 0 to 1, that moves from a layer's input to its weights: alpha
            of SmoothQuant (https://arxiv.org/abs/2211.10438).
        narrow_in_float: Whether the second layers of the MLPs stay in float; False by default.
    """

    smoothing: float
    narrow_in_float: bool = False


# The plans are tried in this order, until one is near enough to float32.
# 1. 0.4 is best for the DINOv2: 0.998 and 0.997. 0.3 and 0.5 are nearly as good, 0.6 gives 0.996 and 0.982, and NNCF's
#    default of 0.95 gives 0.977 and 0.915.
# 2. 0.65 helps towers with a few channels that are large in all images: tiny-shapes with two channels in each MLP made
#    50 times as large has a mean of 0.9991 instead of 0.992.
# 3. MLPs half in float help with any outliers: 0.9996 and 0.999 for the DINOv2, 1.5 times as fast as float32 instead of
#    2.1 times.
PLANS = (
    Plan(smoothing=0.4),
    Plan(smoothing=0.65),
    Plan(smoothing=0.65, narrow_in_float=True),
)


def fit(model: Any, file: Path, samples: Sequence[Inputs], plan: Plan, in_float: Sequence[str] = ()) -> Any:
    """Return the int8 form of a graph, as an object of the same class.

    Args:
        model: Graph that is quantized, an `onnx.ModelProto` or an `openvino.Model`.
        file: ONNX file of the same graph, whose nodes have the same names.
        samples: Inputs that the quantization ranges are fitted to, each a batch of one.
        plan: Way to quantize it.
        in_float: Names of further nodes that stay in float; none by default.
    """
    import nncf
    import onnx
    from nncf.quantization.advanced_parameters import AdvancedQuantizationParameters, AdvancedSmoothQuantParameters
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    graph = onnx.load(file, load_external_data=False).graph
    inputs = {value.name for value in graph.input}
    narrow = _second_layers(graph.node) if plan.narrow_in_float else ()
    ignored = {*in_float, *_attention_products(graph.node, inputs), *narrow}
    return nncf.quantize(
        model,
        nncf.Dataset(samples),
        model_type=nncf.ModelType.TRANSFORMER,
        subset_size=len(samples),
        ignored_scope=nncf.IgnoredScope(names=sorted(ignored)),
        advanced_parameters=AdvancedQuantizationParameters(
            # The full range of int8. NNCF's other settings use half of it for weights, because of processors without
            # VNNI, whose kernels add two products in 16 bits; here the runtimes avoid these kernels.
            overflow_fix=nncf.OverflowFix.DISABLE,
            smooth_quant_alphas=AdvancedSmoothQuantParameters(matmul=plan.smoothing),
            # Ranges from the smallest to the largest value in all samples. NNCF's default, the mean of the samples'
            # ranges, cuts off large values of photos: 0.995 and 0.982 instead of 0.998 and 0.994, with smoothing 0.5.
            activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX,
        ),
    )


def _attention_products(nodes: Iterable[Any], inputs: set[str]) -> list[str]:
    """Return the names of the matrix products without weights: queries by keys, and attention weights by values.

    Attention weights are spread over hundreds of tokens, so most of them are below 1/255, the step of int8 here.
    Quantizing these products loses more than quantizing all linear layers (0.991 and 0.966 instead of 0.998 and 0.997),
    and they are a tenth of the work.
    """
    computed = set(inputs)
    products = []
    for node in nodes:
        if node.op_type == "MatMul" and computed.issuperset(node.input):
            products.append(node.name)
        if not computed.isdisjoint(node.input):
            computed.update(node.output)
    return products


def _second_layers(nodes: Iterable[Any]) -> list[str]:
    """Return the names of the matrix products that follow an activation function: an MLP's second layers."""
    activated: set[str] = set()
    layers = []
    for node in nodes:
        if node.op_type in ("Gelu", "Mul", "Relu"):  # Mul is the last node of QuickGELU
            activated.update(node.output)
        if node.op_type == "MatMul" and node.input[0] in activated:
            layers.append(node.name)
    return layers
