"""Room for what is in the server at a time, in bytes or in inputs; what does not fit is refused at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clip_image_encoder import QueueFullError

__all__ = ["Room"]


class Room:
    """Counts what is in the server at a time. Only the event loop's thread uses it, so that it needs no lock.

    Args:
        most: Largest count.
        unit: What is counted, for error messages, such as "inputs".

    Attributes:
        taken: Count at this moment.
    """

    def __init__(self, most: int, unit: str) -> None:
        self._most, self._unit = most, unit
        self.taken = 0

    @contextmanager
    def place(self) -> Iterator[Callable[[int], None]]:
        """Yield a function that takes so many more; all that it took is given back at the end of the block.

        Raises:
            QueueFullError: There is no room for so many, raised by the function.
        """
        held = 0

        def take(count: int) -> None:
            nonlocal held
            if self.taken + count > self._most:
                raise QueueFullError(f"{self.taken} {self._unit} wait already; try again later")
            self.taken += count
            held += count

        try:
            yield take
        finally:
            self.taken -= held
