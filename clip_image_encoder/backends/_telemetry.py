"""Importing runtimes without the telemetry that they start when they are imported."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from threading import RLock
from typing import Any

__all__ = ["ONNX_RUNTIME_SWITCH", "without_telemetry"]

ONNX_RUNTIME_SWITCH = "ORT_DISABLE_TELEMETRY"
"""ONNX Runtime reads this variable while it is imported; "1" keeps it from counting and calling."""

_OPENVINO_PACKAGE = "openvino_telemetry"
"""Has no switch. OpenVINO and NNCF do without it where it can't be imported."""

_IMPORTING = RLock()


@contextmanager
def without_telemetry() -> Iterator[None]:
    """Keep runtimes and NNCF, if imported meanwhile, from calling anybody; what is changed for that is restored.

    Telemetry looks up hosts, writes below HOME, and starts a process with multiprocessing, whose start method is fixed
    by that. Nothing is changed for a runtime that the application has imported before.
    """
    # One thread at a time: what one restores, another would still need.
    with (
        _IMPORTING,
        _replaced(os.environ, ONNX_RUNTIME_SWITCH, "1"),
        # This is how Python notes what can't be imported.
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
