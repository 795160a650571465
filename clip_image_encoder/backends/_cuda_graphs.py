"""CUDA graphs: the kernels of a tower are recorded once for a batch size, and launched together from then on."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor, nn

from clip_image_encoder._messages import first_line
from clip_image_encoder.errors import BackendError
from clip_image_encoder.models._towers import VisionTower
from clip_image_encoder.protocols import Output

__all__ = ["GraphedTower"]

_logger = logging.getLogger(__name__)

_LARGEST = 256
"""Largest recorded batch, in images: in larger ones a kernel runs longer than the host takes to launch the next."""

_WARM_UPS = 3
"""Number of calls before a recording, in which libraries allocate and choose kernels, as torch's documentation advises.

https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

_TOLERANCE = 1e-2
"""Largest allowed difference between a replay and a normal call, as a part of the features' norm."""

_RECORDING = Lock()
"""torch allows one recording at a time in a process."""


@dataclass(frozen=True, kw_only=True)
class _Recording:
    """The recorded kernels of one call; each replay reads `pixels` and writes `features`, in the same memory."""

    graph: torch.cuda.CUDAGraph
    pixels: Tensor
    features: Tensor


class GraphedTower(nn.Module):
    """A tower on a CUDA device whose kernels are recorded for batches of 1, 2, 4 and so on to 256 images.

    A batch is padded to the next of these sizes; a larger one is computed without a recording. Each stream of a device
    has its own recordings, so that two batches can be computed at once. The recordings of a stream share one pool of
    memory, since a stream computes one batch at a time. A tower that can't be recorded, since it reads a value back
    from the device or since the memory is full, is computed without recordings, and a warning is logged.

    Args:
        tower: Vision tower on a CUDA device, for images of one size.
    """

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = tower
        self.dimension = tower.dimension
        self._recordings: dict[tuple[object, ...], _Recording] = {}
        self._pools: dict[int, Any] = {}
        self._is_recordable = True

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return the features of a batch, computed on the current stream, which must not be the default stream.

        Args:
            pixels: Batch `(n, H, W, 3)` in 0..255 on the tower's device.
            output: Output to compute, "pooled" or "tokens".

        Raises:
            BackendError: The features of the recording differ from those of the tower.
        """
        count = len(pixels)
        if count > _LARGEST or not self._is_recordable:
            return cast("Tensor", self.tower(pixels, output))
        stream = torch.cuda.current_stream(pixels.device)
        size = 1 << (count - 1).bit_length()
        key = (stream.cuda_stream, size, pixels.dtype, output)
        # No lock is needed: only the thread that has a stream reads and writes the recordings of that stream.
        if key not in self._recordings:
            recorded = self._record(pixels, size, output, stream)
            if recorded is None:
                return cast("Tensor", self.tower(pixels, output))
            self._recordings[key] = recorded
        recording = self._recordings[key]
        recording.pixels[:count].copy_(pixels)
        recording.graph.replay()
        return recording.features[:count].clone()  # the next replay writes there

    def _record(self, pixels: Tensor, size: int, output: Output, stream: torch.cuda.Stream) -> _Recording | None:
        """Return a recording for batches of a size; None if the tower can't be recorded."""
        padded = pixels.new_zeros((size, *pixels.shape[1:]))
        padded[: len(pixels)].copy_(pixels)
        for _ in range(_WARM_UPS):
            expected = self.tower(padded, output)
        try:
            recording = self._capture(padded, output, stream)
        except RuntimeError as error:
            _logger.warning("the tower can't be recorded as a CUDA graph, and runs without: %s", first_line(error))
            self._is_recordable = False
            self._recordings.clear()  # batches need their memory
            return None
        recording.graph.replay()
        off = ((recording.features - expected).float().norm() / expected.float().norm()).item()
        # Features that aren't finite without a graph are an error further on, which names the image.
        if not off <= _TOLERANCE and expected.isfinite().all():
            raise BackendError(f"a CUDA graph gives features that are {off:.1%} off; pass cuda_graphs=False")
        return recording

    def _capture(self, padded: Tensor, output: Output, stream: torch.cuda.Stream) -> _Recording:
        with _RECORDING:
            if stream.cuda_stream not in self._pools:
                self._pools[stream.cuda_stream] = torch.cuda.graph_pool_handle()
            pool = self._pools[stream.cuda_stream]
            graph = torch.cuda.CUDAGraph()
            # "thread_local": other threads may allocate memory on this device during the recording.
            with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
                features = self.tower(padded, output)
        return _Recording(graph=graph, pixels=padded, features=features)
