"""Limits of the server: how much one request may send, and how much is in the server at a time."""

from __future__ import annotations

from dataclasses import dataclass, fields

from clip_image_encoder import ConfigurationError
from clip_image_encoder.arguments import check_count

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one request may send, and how much the server holds at a time.

    Args:
        max_body: Largest size of a request's body, in bytes; a larger one is answered with 413.
        max_bodies: Largest size of all bodies that are in the server at a time, in bytes; a request that does not
            fit is answered with 429.
        max_inputs: Largest number of texts and images in a request; more are answered with 400.
        max_waiting: Largest number of texts and images that wait at a time. A request that does not fit is answered
            with 429; a long one counts as the inputs that it has in the queue at a time.

    Raises:
        ConfigurationError: A limit is not a positive integer, or `max_bodies` is less than `max_body`.
    """

    max_body: int = 20_000_000
    max_bodies: int = 250_000_000
    max_inputs: int = 2048
    max_waiting: int = 1024

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, check_count(getattr(self, each.name), name=each.name))
        if self.max_bodies < self.max_body:
            raise ConfigurationError(
                f"max_bodies={self.max_bodies} must be at least max_body={self.max_body}: the largest body must fit"
            )
