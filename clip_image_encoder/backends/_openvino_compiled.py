"""The form of a graph that OpenVINO has compiled for this CPU: stored in a file, and mapped from it at later starts.

At the first inference OpenVINO copies the weights from the file into the layout of its products, and reads the file no
more. Its own cache maps the file, too, and leaves it mapped: 400 MB of a ViT-B/32, which count as memory of the
process. Here the pages are given back to the system after that inference.
"""

from __future__ import annotations

import hashlib
import mmap
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from filelock import FileLock

from clip_image_encoder.backends._telemetry import without_telemetry

with without_telemetry():
    import openvino

__all__ = ["Compiled", "compiled_in"]


class Compiled:
    """A graph that is compiled for the CPU, with the file that its weights are read from.

    Args:
        core: OpenVINO's core.
        file: File that `compiled_in` has written.
        settings: Settings that it was compiled with.
    """

    def __init__(self, core: openvino.Core, file: Path, settings: dict[str, str]) -> None:
        with file.open("rb") as opened:
            # OpenVINO takes nothing that can't be written to. It writes nothing; if it did, the file would stay.
            self._mapped = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_COPY)
        tensor = openvino.Tensor(np.frombuffer(self._mapped, np.uint8), shared_memory=True)
        self.model = core.import_model(tensor, "CPU", settings)

    def give_back(self) -> None:
        """Give the memory of the file back to the system, which reads it again if it is needed."""
        if sys.platform == "linux":
            self._mapped.madvise(mmap.MADV_DONTNEED)


def compiled_in(
    folder: Path, name: str, core: openvino.Core, settings: dict[str, str], make: Callable[[], openvino.CompiledModel]
) -> Compiled:
    """Return a compiled graph from a folder, where it is stored if it isn't there or is damaged.

    Args:
        folder: Folder of compiled graphs; it is made if it is missing.
        name: Name of the graph, one of those in the folder.
        core: OpenVINO's core.
        settings: Settings to compile with.
        make: Function that compiles the graph with these settings.

    Raises:
        OSError: The folder can't be written to, or the disk is full.
    """
    machine = core.get_property("CPU", "FULL_DEVICE_NAME"), core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    key = hashlib.sha256(f"{name} {openvino.__version__} {machine} {settings}".encode()).hexdigest()
    file = folder / f"{key}.blob"
    if compiled := _read(core, file, settings):
        return compiled
    folder.mkdir(exist_ok=True)
    # One process compiles, and the others wait: it takes all cores.
    with FileLock(folder / "compiled.lock"):
        if compiled := _read(core, file, settings):
            return compiled
        unfinished = folder / f"{key}.unfinished"
        try:
            unfinished.write_bytes(make().export_model().getbuffer())
            unfinished.replace(file)
        finally:
            unfinished.unlink(missing_ok=True)
    return Compiled(core, file, settings)


def _read(core: openvino.Core, file: Path, settings: dict[str, str]) -> Compiled | None:
    """Return the compiled graph of a file; None if it isn't there, was cut, or is no compiled graph."""
    try:
        return Compiled(core, file, settings)
    except (OSError, RuntimeError, ValueError):
        return None
