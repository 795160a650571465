"""The progress bar of long work."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterable
from functools import cache
from threading import RLock
from typing import Any

from clip_image_encoder.batches import EncodedBatch

__all__ = ["bars", "is_interactive", "progress"]

# Work that is done after so few batches needs no bar.
_FEW = 3


def progress(
    batches: Iterable[EncodedBatch], *, total: int | None, show: bool | None, unit: str = "image"
) -> Generator[EncodedBatch]:
    """Hand batches on and show on stderr how many images or texts they were.

    Args:
        batches: What is counted.
        total: Number of inputs; None where it is not known.
        show: Whether a bar is shown; None shows one in a terminal or a notebook, once the work turns out to be long.
        unit: What an input is, "image" or "text".
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
    """Return a class of bars like tqdm's own, with a lock for threads."""
    from tqdm.auto import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]  # of nothing: it counts by itself
        pass

    # tqdm's own lock is one of multiprocessing, too, and making that fixes the application's start method.
    Bar.set_lock(RLock())
    return Bar


def is_interactive() -> bool:
    """Return whether somebody is there to watch."""
    # Python's prompt, IPython and notebooks set ps1; a script in a terminal writes to a tty.
    return hasattr(sys, "ps1") or (sys.stderr is not None and sys.stderr.isatty())
