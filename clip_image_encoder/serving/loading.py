"""Threads of a batcher that load images as their calls arrive."""

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
"""Smallest number of threads: on a single core, too, one slow image must not block all others."""


class LoadingPool:
    """A thread pool that loads the items of calls; a call whose item can't be loaded is answered at once.

    Args:
        encoder: Encoder that loads a single input on any thread.
        counter: Counter of the batcher, to which loading times and failures are added.

    Attributes:
        threads: Largest number of threads: the encoder's `num_workers`, and at least 2.
    """

    def __init__(self, encoder: Prepares, counter: Counter) -> None:
        self._encoder, self._counter = encoder, counter
        self.threads = max(_LEAST, encoder._num_workers)
        self._crew = Crew(self.threads)

    def load(self, call: Call, settle: Callable[[Call, bool], bool]) -> None:
        """Load a call on the next thread that is free.

        Args:
            call: Call whose item is replaced by the loaded one.
            settle: Function called afterwards with the call and whether it is loaded; it returns whether the call
                still waits for its answer.
        """
        self._crew.submit(lambda call: self._load(call, settle), call)

    def close(self) -> None:
        """End the threads; one that is busy for longer than a second ends by itself."""
        self._crew.close()

    def _load(self, call: Call, settle: Callable[[Call, bool], bool]) -> None:
        error = None if call.future.done() else self._load_in_place(call)
        self._counter.count(BatcherStats(loading_seconds=call.loading_seconds))
        if settle(call, error is None) and error is not None and call.future.set_running_or_notify_cancel():
            # Counted before the caller gets the error, so that `stats` always includes it.
            self._counter.count(BatcherStats(calls=1, failures=1))
            call.future.set_exception(error)

    def _load_in_place(self, call: Call) -> Exception | None:
        """Load the item of a call; return the error if that fails, or None."""
        begun = time.perf_counter()
        try:
            call.item = self._encoder._prepare(call.item)
        except ImageError as error:
            return error.at(0)  # its caller passed one image, whose index is 0
        except BaseException as error:  # any error of an image or a plugin goes to its caller, not to this thread
            _logger.exception("an image failed to load")
            return for_callers(error)
        finally:
            call.loading_seconds = time.perf_counter() - begun
        return None
