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

    A batch is padded to the next of these sizes; a larger one is computed without a recording. All recordings share one
    pool of memory, so that the device replays them one after the other, whatever the streams of their batches: only
    copies of one batch run beside the kernels of another. They are made on a stream of their own, whose scratch memory
    of cuBLAS is a part of them: on a lent stream, other kernels would write there, too. A tower that can't be recorded,
    since it reads a value back from the device or since the memory is full, is computed without recordings, and a
    warning is logged.

    Args:
        tower: Vision tower on a CUDA device, for images of one size.
    """

    def __init__(self, tower: VisionTower) -> None:
        super().__init__()
        self.tower = tower
        self.dimension = tower.dimension
        self._recordings: dict[tuple[object, ...], _Recording] = {}
        self._stream = torch.cuda.Stream(next(tower.parameters()).device)
        self._pool: Any = torch.cuda.graph_pool_handle()
        self._is_recordable = True
        # Held while a replay is launched, not while it runs.
        self._launching = Lock()
        self._replayed = torch.cuda.Event()

    def forward(self, pixels: Tensor, output: Output) -> Tensor:
        """Return the features of a batch, computed on the current stream, which must not be the default stream.

        Args:
            pixels: Batch `(n, H, W, 3)` in 0..255 on the tower's device.
            output: Output to compute, "pooled" or "tokens".

        Raises:
            BackendError: The features of the recording differ from those of the tower.
        """
        if len(pixels) <= _LARGEST:
            stream = torch.cuda.current_stream(pixels.device)
            with self._launching:
                stream.wait_event(self._replayed)  # the replay before may run on another stream, in the same memory
                try:
                    features = self._replay(pixels, output) if self._is_recordable else None
                finally:
                    self._replayed.record(stream)  # also if the memory was full after a replay began
            if features is not None:
                return features
        return cast("Tensor", self.tower(pixels, output))

    def _replay(self, pixels: Tensor, output: Output) -> Tensor | None:
        """Return the features by a recording, which is made if there is none; None if the tower can't be recorded."""
        count = len(pixels)
        size = 1 << (count - 1).bit_length()
        key = (size, pixels.dtype, output)
        if key not in self._recordings:
            recorded = self._record_aside(pixels, size, output)
            if recorded is None:
                return None
            self._recordings[key] = recorded
        recording = self._recordings[key]
        recording.pixels[:count].copy_(pixels)
        recording.graph.replay()
        return recording.features[:count].clone()  # the next replay writes there

    def _record_aside(self, pixels: Tensor, size: int, output: Output) -> _Recording | None:
        """Return a recording that is made on the tower's own stream, or None, as `_record` does."""
        lent = torch.cuda.current_stream(pixels.device)
        self._stream.wait_stream(lent)
        try:
            with torch.cuda.stream(self._stream):
                return self._record(pixels, size, output)
        finally:
            lent.wait_stream(self._stream)

    def _record(self, pixels: Tensor, size: int, output: Output) -> _Recording | None:
        """Return a recording for batches of a size; None if the tower can't be recorded."""
        padded = pixels.new_zeros((size, *pixels.shape[1:]))
        padded[: len(pixels)].copy_(pixels)
        for _ in range(_WARM_UPS):
            expected = self.tower(padded, output)
        try:
            recording = self._capture(padded, output)
        except RuntimeError as error:
            _logger.warning("the tower can't be recorded as a CUDA graph, and runs without: %s", first_line(error))
            self._is_recordable = False
            torch.cuda.synchronize(pixels.device)  # a replay may still run
            self._recordings.clear()  # batches need their memory
            return None
        recording.graph.replay()
        off = ((recording.features - expected).float().norm() / expected.float().norm()).item()
        # Features that aren't finite without a graph are an error further on, which names the image.
        if not off <= _TOLERANCE and expected.isfinite().all():
            raise BackendError(f"a CUDA graph gives features that are {off:.1%} off; pass cuda_graphs=False")
        return recording

    def _capture(self, padded: Tensor, output: Output) -> _Recording:
        with _RECORDING:
            graph = torch.cuda.CUDAGraph()
            # "thread_local": other threads may allocate memory on this device during the recording.
            with torch.cuda.graph(graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"):
                features = self.tower(padded, output)
        return _Recording(graph=graph, pixels=padded, features=features)
