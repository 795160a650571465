"""What the processor allows now, as a process that works on jobs: python -m tests.programs.benchmarks.limits.

{"width": 768, "mlp": 3072, "photos": [...]} answers the GFLOP/s of matrix products in each dtype that the processor
has, and the seconds that one core needs for what no processor does in parallel: the entropy decoding of a JPEG.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image

from tests.programs.benchmarks.process import Figures, Job, answer_jobs

_ROWS = 1600
"""Tokens at a time, as the torch backend has them: products are at their best."""
_RUNS = 40
_LONGEST = 1.5
"""Seconds for the products of one dtype."""


def product(dtype: torch.dtype, width: int, mlp: int) -> Callable[[], object]:
    """Return what multiplies the tokens with the first weights of an MLP, laid out once, by oneDNN.

    Raises:
        RuntimeError: The processor has no instructions for the dtype.
    """
    tokens, weights = torch.randn(_ROWS, width), torch.randn(mlp, width)
    if dtype is torch.int8:
        levels = tokens.mul(30).add(128).clamp(0, 255).to(torch.uint8)
        packed = torch.ops.onednn.qlinear_prepack(weights.mul(30).clamp(-127, 127).to(torch.int8), [_ROWS, width])
        scales, zeros = torch.full((mlp,), 0.01), torch.zeros(mlp, dtype=torch.int64)
        # Bytes come out, too: float32 would be four times as much to write.
        rest: tuple[Any, ...] = (None, 1.0, 0, torch.uint8, "none", [], "")
        return lambda: torch.ops.onednn.qlinear_pointwise(levels, 0.01, 128, packed, scales, zeros, *rest)
    tokens, weights = tokens.to(dtype), weights.to(dtype)
    packed = torch.ops.mkldnn._reorder_linear_weight(weights, _ROWS)
    return lambda: torch.ops.mkldnn._linear_pointwise(tokens, packed, None, "none", [], "")


def gflops(multiply: Callable[[], object], width: int, mlp: int) -> float:
    """Return the median GFLOP/s of a product."""
    multiply()
    times: list[float] = []
    while len(times) < _RUNS and sum(times) < _LONGEST:
        begun = time.perf_counter()
        multiply()
        times.append(time.perf_counter() - begun)
    return 2 * _ROWS * width * mlp / statistics.median(times) / 1e9


def entropy_seconds(photos: Sequence[str]) -> float:
    """Return the seconds of one core for the entropy decoding of a photo.

    At an eighth of the size a decoder reads all of the file's bits, and computes one pixel of each block of 64.
    """
    begun = time.thread_time()
    for photo in photos:
        with Image.open(photo) as image:
            image.draft("RGB", (1, 1))
            image.load()
    return (time.thread_time() - begun) / len(photos)


@torch.inference_mode()
def work(job: Job) -> Figures:
    """Measure the products and the decoding."""
    figures = {"entropy": entropy_seconds(job["photos"])}
    for dtype in (torch.float32, torch.bfloat16, torch.int8):
        try:
            multiply = product(dtype, job["width"], job["mlp"])
        except RuntimeError:  # no such instructions here
            continue
        figures[str(dtype).removeprefix("torch.")] = gflops(multiply, job["width"], job["mlp"])
    return figures


if __name__ == "__main__":
    answer_jobs(work)
