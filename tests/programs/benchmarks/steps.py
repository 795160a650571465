"""The steps of the benchmark, each of which can run alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from tests.programs.benchmarks.checkpoint import SO400M, VIT_B_16, VIT_B_32, VIT_L_14, Geometry
from tests.programs.benchmarks.systems import FIRST, IMAGES, TEXTS

__all__ = ["STEPS", "Step"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """What is measured in one go: some systems with one model, in turn.

    Attributes:
        title: What the page calls it.
        kind: "images", "texts" or "serving".
        geometry: Shape of the vision tower.
        systems: Names of systems, the first of which the others are compared with.
        count: Inputs that a system encodes in a round, at least; photos are taken as often as needed.
        batch: Inputs in a batch.
        singles: Inputs that a system encodes one by one, after that.
        starts: Whether the first start, with nothing cached, and a second are shown.
        held: Whether libraries are held to AVX2.
    """

    title: str
    kind: str = "images"
    geometry: Geometry = VIT_B_32
    systems: tuple[str, ...]
    count: int
    batch: int = 32
    singles: int
    starts: bool = False
    held: bool = False

    def hold(self, *systems: str) -> Step:
        """Return the step with libraries that are held to AVX2, for these systems."""
        return replace(self, systems=systems, starts=False, held=True)


_B_32 = Step(title=VIT_B_32.name, systems=tuple(IMAGES), count=64, singles=12, starts=True)
_B_16 = Step(
    title=VIT_B_16.name,
    geometry=VIT_B_16,
    systems=(FIRST, "torch float32", "torch bfloat16", "onnx float32", "openvino float32", "openvino bfloat16"),
    count=32,
    singles=8,
)
# The export of larger towers takes long: of the graphs only the quickest.
_LARGE = (FIRST, "torch float32", "torch bfloat16", "openvino bfloat16")
_L_14 = Step(title=VIT_L_14.name, geometry=VIT_L_14, systems=_LARGE, count=8, batch=8, singles=3)
_SO400M = Step(title=SO400M.name, geometry=SO400M, systems=_LARGE, count=2, batch=2, singles=1)
_TEXTS = Step(title="texts", kind="texts", systems=tuple(TEXTS), count=512, singles=60)
_SERVING = Step(title="forty callers", kind="serving", systems=("serving",), count=240, singles=0)

_PLAIN = (FIRST, "torch float32")
_FLOAT32 = (FIRST, "fastembed float32", "torch float32", "onnx float32", "openvino float32")

STEPS: Mapping[str, Step] = MappingProxyType(
    {
        "b-32": _B_32,
        "b-16": _B_16,
        "l-14": _L_14,
        "so400m": _SO400M,
        "texts": _TEXTS,
        "serving": _SERVING,
        "b-32-avx2": _B_32.hold(*_FLOAT32, "onnx int8", "openvino int8"),
        "b-16-avx2": _B_16.hold(*_PLAIN),
        "l-14-avx2": _L_14.hold(*_PLAIN),
        "so400m-avx2": _SO400M.hold(*_PLAIN),
        "texts-avx2": _TEXTS.hold(*_FLOAT32),
        "serving-avx2": _SERVING.hold("serving"),
    }
)
