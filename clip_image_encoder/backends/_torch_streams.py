"""CUDA's queues of work: one batch is copied to a device while another is computed there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from threading import Lock

import torch

__all__ = ["Streams", "lent_stream"]

_FOR_EACH_DEVICE = 2


class Streams:
    """Two streams for each CUDA device, made once in a process and lent to one call at a time.

    torch keeps freed memory for the stream that used it, of which it has 32: a stream for each thread, or two for each
    encoder that is made, would keep as many times the memory of a batch.
    """

    def __init__(self) -> None:
        self._free: dict[str, SimpleQueue[torch.cuda.Stream]] = {}
        self._lock = Lock()

    @contextmanager
    def lent(self, device: str) -> Iterator[None]:
        """Compute on a stream that no other call has, after waiting for one; other devices than CUDA's have none."""
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
