"""Progress bar for long work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from functools import cache
from threading import RLock
from typing import Any

from clip_image_encoder.batches import EncodedBatch

__all__ = ["bars", "is_interactive", "progress"]

# Number of batches before a bar is shown by itself; shorter work needs none.
_FEW = 3


def progress(
    batches: Iterable[EncodedBatch], *, total: int | None, show: bool | None, unit: str = "image"
) -> Generator[EncodedBatch]:
    """Yield batches, and show on stderr how many images or texts have been encoded.

    Args:
        batches: Batches to yield and count.
        total: Number of all inputs; None if it is not known.
        show: Whether a bar is shown; None shows one in a terminal or a notebook, if there are more than 3 batches.
        unit: Word for an input, "image" or "text".
    """
    wanted = is_interactive() if show is None else show
    if not wanted:
        yield from batches
        return
    new_bar = bars()
    done = 0
    bar = new_bar(total=total, unit=unit) if show else None
    try:
        for number, batch in enumerate(batches, start=1):
            yield batch
            done += len(batch.embeddings)
            if bar is None and number == _FEW and done != total:
                bar = new_bar(total=total, unit=unit, initial=done)
            elif bar is not None:
                bar.update(len(batch.embeddings))
    finally:
        if bar is not None:
            bar.close()


@cache
def bars() -> Callable[..., Any]:
    """Return a class of tqdm's bars whose lock is for threads only."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]  # the parameter is the type that a bar iterates over; this one counts
        pass

    # tqdm's default lock includes one of multiprocessing, which would fix the application's start method.
    Bar.set_lock(RLock())
    return Bar


def is_interactive() -> bool:
    """Return whether this is an interactive session: a terminal, a notebook or Python's prompt."""
    # Python's prompt, IPython and notebooks set sys.ps1; the stderr of a script in a terminal is a tty.
    return hasattr(sys, "ps1") or (sys.stderr is not None and sys.stderr.isatty())
