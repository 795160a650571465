"""A tower of an exported folder: its files are checked, and its graph is loaded and verified on each device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._messages import first_line
from clip_image_encoder.backends._graph import Run
from clip_image_encoder.backends._graph_runs import Runtime
from clip_image_encoder.backends._graph_store import find_or_make
from clip_image_encoder.backends._loaded import Loaded
from clip_image_encoder.backends._quality import Quality, tell_quality
from clip_image_encoder.backends._reference import Reference
from clip_image_encoder.backends._registry import find_runtime
from clip_image_encoder.backends._verification import Verification
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import CheckpointError, ConfigurationError, EncoderError

__all__ = ["ExportedTower"]


class ExportedTower:
    """A tower of an exported folder, loaded once for each device; several threads may use it at once.

    Args:
        checkpoint: Exported folder that contains the tower.
        kind: Kind of the tower, "vision" or "text".
        dtype: Name of the dtype that the folder was exported in; "auto" means that dtype.
        known: Known inputs of the tower, each with one row, whose vector is stored in the folder.
        verify: Whether the runtime's vector of the known inputs is compared with the stored one.

    Raises:
        ConfigurationError: The folder was exported in another dtype.
        MissingExtraError: The runtime that the folder was made for is not installed.
        CheckpointError: Files are missing, or have other sizes than when they were written.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        kind: Literal["vision", "text"],
        dtype: str,
        known: tuple[NDArray[Any], ...],
        *,
        verify: bool,
    ) -> None:
        exported: str = checkpoint.config["dtype"]
        if dtype not in ("auto", exported):
            raise ConfigurationError(
                f"{checkpoint.name} was exported in {exported}, not in {dtype}; leave dtype= out, or export it again"
            )
        self.values: Mapping[str, Any] = checkpoint.config[kind]
        self.runtime: Runtime = find_runtime(checkpoint.config["runtime"])(dtype=exported)
        self.devices = tuple(self.runtime.devices)
        self._checkpoint = checkpoint
        self._kind = kind
        self._dtype = exported
        self._reference = Reference(inputs=known, vector=np.array(self.values["reference"], np.float32))
        self._verify = verify
        self._file = _checked_files(checkpoint, self.values)
        self._loaded: Loaded[Run] = Loaded()
        stored = self.values.get("quality")
        self._quality = Quality(**stored) if stored else None
        tell_quality(checkpoint.name, self._quality)

    def on(self, device: str) -> Run:
        """Return the function that runs the tower on a device; the first call for a device loads and verifies it.

        Raises:
            CheckpointError: The graph can't be loaded.
            BackendError: The runtime's vector of the known inputs differs from the stored one.
        """
        return self._loaded.of(device, partial(self._verified, device))

    def __str__(self) -> str:
        return f"{self.runtime}, {self._quality}" if self._quality else f"{self.runtime}"

    def _verified(self, device: str) -> Run:
        vision = self._checkpoint.vision if self._kind == "vision" else None
        patches = vision.patches(vision.image_size) if vision else None
        with self._damage_named():
            run = self.runtime.open(self._file, device, patches=patches, kept=self._kept())
        if self._verify:
            self._verification(device).check(partial(self._tried, run))
        return run

    def _tried(self, run: Run, *inputs: NDArray[Any]) -> NDArray[np.float32]:
        with self._damage_named():
            return run(*inputs)

    @contextmanager
    def _damage_named(self) -> Iterator[None]:
        try:
            yield
        except EncoderError:
            raise
        except Exception as error:  # runtimes raise exceptions of any class for a damaged graph
            raise CheckpointError(
                f"{self._checkpoint.name}: {self.values['graph']} is damaged: {first_line(error)}; export it again"
            ) from error

    def _verification(self, device: str) -> Verification:
        return Verification(
            reference=self._reference,
            key=f"exported {self._checkpoint.fingerprint} {self.values['graph']}",
            name=self._checkpoint.name,
            device=device,
            dtype=self._dtype,
            worst=self._quality.worst if self._quality else None,
        )

    def _kept(self) -> Path | None:
        """Return the folder for the graph's compiled form on this machine; None if the cache can't be written to."""
        try:
            return find_or_make(f"made of {self._checkpoint.fingerprint} {self.values['graph']}", lambda _folder: None)
        except ConfigurationError:  # a read-only file system, as on serverless machines
            return None


def _checked_files(checkpoint: Checkpoint, values: Mapping[str, Any]) -> Path:
    """Return the graph's file, after checking that all files of the tower are there and have their sizes.

    Raises:
        CheckpointError: A file is missing, or has another size than when it was written.
    """
    for name, size in values["files"].items():
        found = checkpoint.files.path(name).stat().st_size
        if found != size:
            raise CheckpointError(
                f"{checkpoint.name}: {name} is damaged: it has {found} bytes instead of {size}; copy or export it again"
            )
    return checkpoint.files.path(values["graph"])
