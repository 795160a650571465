"""One call of a batcher, and the error that its caller may get."""

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
    """One call of `MicroBatcher.encode`, from its arrival to its answer.

    Attributes:
        item: Image or text; after loading, the loaded image that the encoder takes in its place.
        future: Future of the caller, which gets the vector `(d,)` or an error.
        arrived: Time of arrival, in seconds on the clock of `time.monotonic`.
        loading_seconds: Time that a loading thread spent on the item, in seconds.
    """

    item: object
    future: Future[Vectors] = field(default_factory=Future)
    arrived: float = field(default_factory=time.monotonic)
    loading_seconds: float = 0.0


def for_callers(error: BaseException) -> Exception:
    """Return an error that callers can handle: a BaseException, which would end their threads, becomes ContractError.

    Args:
        error: Error that the encoder or the loader raised.
    """
    if isinstance(error, Exception):
        return without_tracebacks(error)
    try:
        shown = short_text(repr(error))
    except BaseException:  # noqa: BLE001 - the repr of a foreign error may raise, too
        shown = type(error).__name__
    told = ContractError(f"the encoder raised {shown}")
    told.__cause__ = error
    return without_tracebacks(told)
