"""Suppresses what transformers logs and shows while it loads a model, in the loading thread alone."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

__all__ = ["silence"]

_LOGGERS = ("transformers.core_model_loading", "transformers.modeling_utils", "transformers.utils.loading_report")


@contextmanager
def silence() -> Iterator[None]:
    """Suppress transformers' warnings about weights, and its progress bars, in this thread alone.

    The package reports missing weights by an error of its own, and unused heads are expected. Messages and bars of
    other threads stay.
    """
    here = get_ident()
    loggers = [logging.getLogger(name) for name in _LOGGERS]

    def is_of_others(record: logging.LogRecord) -> bool:
        return record.thread != here

    for logger in loggers:
        logger.addFilter(is_of_others)
    try:
        with _no_bar(here):
            yield
    finally:
        for logger in loggers:
            logger.removeFilter(is_of_others)


@contextmanager
def _no_bar(here: int) -> Iterator[None]:
    from transformers.utils import logging as hooks

    # transformers 4 has no hook, and shows no bar for weights that it is handed.
    set_hook: Any = getattr(hooks, "set_tqdm_hook", None)
    if set_hook is None:
        yield
        return

    def make(factory: Any, args: Any, settings: Any) -> Any:
        if get_ident() == here:
            return factory(*args, **{**settings, "disable": True})
        return before(factory, args, settings) if before else factory(*args, **settings)

    before: Any = set_hook(None)
    set_hook(make)
    try:
        yield
    finally:
        set_hook(before)
