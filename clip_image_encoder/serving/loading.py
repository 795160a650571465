"""The threads of a batcher that load images as they come."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from clip_image_encoder._prepared import Prepares
from clip_image_encoder._threads import Crew
from clip_image_encoder.errors import ImageError
from clip_image_encoder.serving.call import Call, for_callers
from clip_image_encoder.serving.stats import BatcherStats, Counter

__all__ = ["LoadingPool"]

_logger = logging.getLogger("clip_image_encoder.serving")

_LEAST = 2
"""Threads: what takes long to decode has one, and the others go on, on a single core, too."""


class LoadingPool:
    """A few threads that load calls; a call that can't be loaded is answered at once.

    Args:
        encoder: Loads one input on any thread.
        counter: Of the batcher.

    Attributes:
        threads: Number of threads, at most.
    """

    def __init__(self, encoder: Prepares, counter: Counter) -> None:
        self._encoder, self._counter = encoder, counter
        self.threads = max(_LEAST, encoder._num_workers)
        self._crew = Crew(self.threads)

    def load(self, call: Call, settle: Callable[[Call, bool], bool]) -> None:
        """Have a thread load a call, as soon as one is free.

        Args:
            call: Its item is replaced.
            settle: Called with the call and whether it is loaded; returns whether the call still waits.
        """
        self._crew.submit(lambda call: self._load(call, settle), call)

    def close(self) -> None:
        """End the threads; one that is busy for longer than a second ends by itself."""
        self._crew.close()

    def _load(self, call: Call, settle: Callable[[Call, bool], bool]) -> None:
        error = None if call.future.done() else self._load_in_place(call)
        self._counter.count(BatcherStats(loading_seconds=call.loading_seconds))
        if settle(call, error is None) and error is not None and call.future.set_running_or_notify_cancel():
            # Before the caller knows, so that the counts are never behind.
            self._counter.count(BatcherStats(calls=1, failures=1))
            call.future.set_exception(error)

    def _load_in_place(self, call: Call) -> Exception | None:
        """Load the item of a call; return what is wrong with it."""
        begun = time.perf_counter()
        try:
            call.item = self._encoder._prepare(call.item)
        except ImageError as error:
            return error.at(0)  # to its caller it is the only one
        except BaseException as error:  # whatever an image or a plugin raises: its caller learns of it
            _logger.exception("an image failed to load")
            return for_callers(error)
        finally:
            call.loading_seconds = time.perf_counter() - begun
        return None
