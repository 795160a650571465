"""Import runtimes without the telemetry that they start while they are imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from threading import RLock
from typing import Any

__all__ = ["ONNX_RUNTIME_SWITCH", "without_telemetry"]

ONNX_RUNTIME_SWITCH = "ORT_DISABLE_TELEMETRY"
"""Environment variable that ONNX Runtime reads while it is imported; "1" disables telemetry."""

_OPENVINO_PACKAGE = "openvino_telemetry"
"""Package of OpenVINO's telemetry, which has no switch. OpenVINO and NNCF also work if it can't be imported."""

_IMPORTING = RLock()


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Disable the telemetry of runtimes and NNCF that are imported in this context; all is restored afterwards.

    Telemetry looks up hosts, writes below HOME, and starts a process with multiprocessing, which fixes the start method
    of the whole application. A runtime that the application has imported before keeps its telemetry.
    """
    # One thread at a time: otherwise one thread would restore what another one still needs.
    with (
        _IMPORTING,
        _replaced(os.environ, ONNX_RUNTIME_SWITCH, "1"),
        # None in sys.modules makes Python raise ModuleNotFoundError for this name.
        _replaced(sys.modules, _OPENVINO_PACKAGE, None),
    ):
        yield


@contextmanager
def _replaced(mapping: MutableMapping[str, Any], key: str, value: object) -> Iterator[None]:
    before = {key: mapping[key]} if key in mapping else {}
    mapping[key] = value
    try:
        yield
    finally:
        del mapping[key]
        mapping.update(before)
