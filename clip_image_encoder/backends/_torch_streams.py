"""CUDA streams: one batch is copied to a device on one stream while another batch is computed on the other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Lock

import torch

__all__ = ["Streams", "lent_stream"]

_FOR_EACH_DEVICE = 2


class Streams:
    """Two streams for each CUDA device, made once in a process; each is used by one call at a time.

    torch caches freed memory for the stream that used it. With a stream for each thread, or two for each encoder, it
    would keep the memory of a batch that many times, up to the 32 streams that torch has for a device.
    """

    def __init__(self) -> None:
        self._free: dict[str, SimpleQueue[torch.cuda.Stream]] = {}
        self._lock = Lock()

    @contextmanager
    def lent(self, device: str) -> Iterator[None]:
        """Wait for a free stream of a CUDA device, and compute on it in this context; do nothing for other devices."""
        if not device.startswith("cuda"):
            yield
            return
        free = self._of(device)
        stream = free.get()
        try:
            with torch.cuda.stream(stream):
                yield
        finally:
            free.put(stream)

    def _of(self, device: str) -> SimpleQueue[torch.cuda.Stream]:
        with self._lock:
            if device not in self._free:
                streams: SimpleQueue[torch.cuda.Stream] = SimpleQueue()
                for _ in range(_FOR_EACH_DEVICE):
                    streams.put(torch.cuda.Stream(device))
                self._free[device] = streams
            return self._free[device]


lent_stream = Streams().lent
