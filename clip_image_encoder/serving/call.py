"""One call of a batcher, and what its caller is told."""

from __future__ import annotations

import time
from concurrent.futures import Future
from dataclasses import dataclass, field

from clip_image_encoder._messages import without_tracebacks
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.errors import ContractError
from clip_image_encoder.images.describe import short_text

__all__ = ["Call", "for_callers"]


@dataclass(eq=False)
class Call:
    """One call that waits.

    Attributes:
        item: An image or a text; once it is loaded, what the encoder takes instead.
        future: Gets its vector `(d,)` or its error.
        arrived: When it came, on the clock of `time.monotonic`, in seconds.
        loading_seconds: Time that a loading thread spent on it.
    """

    item: object
    future: Future[Vectors] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    loading_seconds: float = 0.0


def for_callers(error: BaseException) -> Exception:
    """Return an error that may be raised to callers: what is no Exception would end their threads or loops."""
    if isinstance(error, Exception):
        return without_tracebacks(error)
    try:
        shown = short_text(repr(error))
    except BaseException:  # noqa: BLE001 - an error of a stranger's that can't even be shown
        shown = type(error).__name__
    told = ContractError(f"the encoder raised {shown}")
    told.__cause__ = error
    return without_tracebacks(told)
