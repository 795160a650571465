"""The towers of an exported folder, in the runtime that it was made for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._forks import in_forks, never_destroy, no_fork
from clip_image_encoder._messages import first_line
from clip_image_encoder.arrays import PixelFormat, Pixels, TokenIds, Tokens, Vectors
from clip_image_encoder.backends._graph import Run
from clip_image_encoder.backends._graph_runs import Runtime
from clip_image_encoder.backends._graph_store import find_or_make
from clip_image_encoder.backends._quality import Quality
from clip_image_encoder.backends._reference import check_reference, reference_pixels
from clip_image_encoder.backends._registry import find_runtime
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import CheckpointError, ConfigurationError, EncoderError
from clip_image_encoder.protocols import Output

__all__ = ["ExportedBackend", "ExportedTextBackend"]


class _Tower:
    """One tower of an exported folder, loaded once for each device; several threads may ask at a time.

    Args:
        checkpoint: The exported folder.
        kind: "vision" or "text".
        dtype: "auto", or the dtype that it was exported in.

    Raises:
        ConfigurationError: It was exported in another dtype.
        MissingExtraError: Its runtime is not installed.
        CheckpointError: Files are missing, or have other sizes than when they were written.
    """

    def __init__(self, checkpoint: Checkpoint, kind: str, dtype: str) -> None:
        exported: str = checkpoint.config["dtype"]
        if dtype not in ("auto", exported):
            raise ConfigurationError(f"{checkpoint.name} was exported in {exported}, not in {dtype}; export it anew")
        self.values: Mapping[str, Any] = checkpoint.config[kind]
        self.runtime: Runtime = find_runtime(checkpoint.config["runtime"])(dtype=exported)
        self.devices = tuple(self.runtime.devices)
        self._checkpoint = checkpoint
        self._dtype = exported
        self._file = _checked_files(checkpoint, self.values)
        self._lock = Lock()
        self._runs: dict[str, Run] = {}
        in_forks(self, _Tower._load_anew)

    def on(self, device: str, *inputs: NDArray[Any]) -> Run:
        """Return what runs the tower on a device, after comparing what it makes of some inputs with the reference.

        Raises:
            CheckpointError: The graph can't be loaded.
            BackendError: The runtime gives something else than the reference.
        """
        with self._lock:
            if device not in self._runs:
                run, vectors = self._tried(device, inputs)
                check_reference(vectors, self.values["reference"], dtype=self._dtype, name=self._checkpoint.name)
                self._runs[device] = run
            return self._runs[device]

    def __str__(self) -> str:
        stored = self.values.get("quality")
        return f"{self.runtime}, {Quality(**stored)}" if stored else f"{self.runtime}"

    def _tried(self, device: str, inputs: tuple[NDArray[Any], ...]) -> tuple[Run, NDArray[np.float32]]:
        """Return what runs the tower, and what it makes of some inputs."""
        try:
            run = self.runtime.open(self._file, device, kept=self._kept())
            return run, run(*inputs)
        except EncoderError:
            raise
        except Exception as error:  # whatever a runtime raises on a graph that was changed
            raise CheckpointError(
                f"{self._checkpoint.name}: {self.values['graph']} is damaged: {first_line(error)}"
            ) from error

    def _kept(self) -> Path | None:
        """Return a folder for what a runtime makes of the graph for this machine; None where nothing can be kept."""
        try:
            return find_or_make(f"made of {self._checkpoint.fingerprint} {self.values['graph']}", lambda _folder: None)
        except ConfigurationError:  # a machine on which nothing is written, such as a serverless one
            return None

    def _load_anew(self) -> None:
        # As in `GraphRuns`: a runtime's threads don't live in a forked process.
        never_destroy(self._runs)
        self._lock, self._runs = Lock(), {}


class ExportedBackend:
    """Runs the vision tower of an exported folder.

    It may be called from several threads. Pickled, it carries the folder's name, not the graph.

    Args:
        checkpoint: The exported folder, from `open_checkpoint`.
        pixel_format: Size of the pixels, and how they are normalized, as it was exported.
        dtype: "auto", or the dtype that it was exported in.
        device: Where to load the graph now; None is the best there is.

    Raises:
        ConfigurationError: The device, the dtype or the pixels are others than it was exported for.
        MissingExtraError: Its runtime is not installed.
        CheckpointError: Files are missing or damaged.
        BackendError: The runtime gives another vector than the folder says.
    """

    outputs: frozenset[Output] = frozenset({"pooled"})
    prefix_tokens = 0

    def __init__(
        self, checkpoint: Checkpoint, /, *, pixel_format: PixelFormat, dtype: str = "auto", device: Devices = None
    ) -> None:
        checkpoint.vision  # noqa: B018 - says so where there is none
        self._checkpoint = checkpoint
        self._requested = device
        self._tower = _Tower(checkpoint, "vision", dtype)
        stored = self._tower.values["pixel_format"]
        exported = PixelFormat(size=tuple(stored["size"]), mean=tuple(stored["mean"]), std=tuple(stored["std"]))
        if pixel_format != exported:
            raise ConfigurationError(
                f"{checkpoint.name} was exported with its preprocess, which makes {exported}; leave preprocess= out"
            )
        self._pixel_format = exported
        self._example = reference_pixels(exported.size or (1, 1))
        self._tower.on(resolve_devices(device, self.devices)[0], self._example)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._tower.values["dimension"])

    @property
    def image_size(self) -> tuple[int, int] | None:
        """`(height, width)` of the pixels that it takes."""
        return self._pixel_format.size

    @property
    def devices(self) -> Sequence[str]:
        """What the runtime can run on, the best first."""
        return self._tower.devices

    @property
    def fingerprint(self) -> str:
        """Same string, same vectors: the folder's config, which has the digests of its files, and the runtime."""
        return f"exported({self._checkpoint.fingerprint}, {self._tower.runtime.fingerprint})"

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:  # noqa: ARG002
        """Encode a batch.

        Args:
            pixels: `(n, H, W, 3)` uint8 RGB.
            output: "pooled", which is all that it has.
            device: One of `devices`.

        Returns:
            `(n, d)` float32, not normalized.

        Raises:
            ConfigurationError: The pixels are normalized already.
        """
        if pixels.dtype != np.uint8:
            raise ConfigurationError(f"{self._checkpoint.name} was exported for uint8 pixels; leave preprocess= out")
        run = self._tower.on(device, self._example)
        with no_fork():
            return run(np.ascontiguousarray(pixels))

    def __repr__(self) -> str:
        return f"ExportedBackend({self._checkpoint.name!r}, {self._tower})"

    def __reduce__(self) -> tuple[Callable[..., ExportedBackend], tuple[Any, ...]]:
        return _restore, (self._checkpoint, self._pixel_format, self._requested)


class ExportedTextBackend:
    """Runs the text tower of an exported folder.

    It may be called from several threads. Pickled, it carries the folder's name, not the graph.

    Args:
        checkpoint: The exported folder, from `open_checkpoint`.
        dtype: "auto", or the dtype that it was exported in.
        device: Where to load the graph now; None is the best there is.

    Raises:
        ConfigurationError: The device or the dtype are others than it was exported for.
        MissingExtraError: Its runtime is not installed.
        CheckpointError: Files are missing or damaged.
        BackendError: The runtime gives another vector than the folder says.
    """

    def __init__(self, checkpoint: Checkpoint, /, *, dtype: str = "auto", device: Devices = None) -> None:
        self._checkpoint = checkpoint
        self._requested = device
        self._max_length = checkpoint.text.max_length
        self._is_masked = checkpoint.text.padding == "longest"
        self._tower = _Tower(checkpoint, "text", dtype)
        token_ids = np.array([self._tower.values["token_ids"]], np.int64)
        self._example = (token_ids, np.ones_like(token_ids)) if self._is_masked else (token_ids,)
        self._tower.on(resolve_devices(device, self.devices)[0], *self._example)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._tower.values["dimension"])

    @property
    def devices(self) -> Sequence[str]:
        """What the runtime can run on, the best first."""
        return self._tower.devices

    @property
    def max_length(self) -> int:
        """Number of tokens that the tower reads, special ones included."""
        return self._max_length

    @property
    def fingerprint(self) -> str:
        """Same string, same vectors: the folder's config, which has the digests of its files, and the runtime."""
        return f"exported texts({self._checkpoint.fingerprint}, {self._tower.runtime.fingerprint})"

    def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
        """Encode a batch.

        Args:
            token_ids: `(n, length)`, with `length` up to `max_length`.
            attention_mask: The same shape, 1 for a token and 0 for padding; None where nothing is masked.
            device: One of `devices`.

        Returns:
            `(n, d)` float32, not normalized.
        """
        run = self._tower.on(device, *self._example)
        mask = np.ones_like(token_ids) if attention_mask is None else attention_mask
        with no_fork():
            return run(token_ids, mask) if self._is_masked else run(token_ids)

    def __repr__(self) -> str:
        return f"ExportedTextBackend({self._checkpoint.name!r}, {self._tower})"

    def __reduce__(self) -> tuple[Callable[..., ExportedTextBackend], tuple[Any, ...]]:
        return _restore_text, (self._checkpoint, self._requested)


def _checked_files(checkpoint: Checkpoint, values: Mapping[str, Any]) -> Path:
    """Return the graph's file, after seeing that all of the tower's files are there, each as long as it was written.

    Raises:
        CheckpointError: One is missing, or has another size.
    """
    for name, size in values["files"].items():
        found = checkpoint.files.path(name).stat().st_size
        if found != size:
            raise CheckpointError(f"{checkpoint.name}: {name} is damaged: it has {found} bytes instead of {size}")
    return checkpoint.files.path(values["graph"])


def _restore(checkpoint: Checkpoint, pixel_format: PixelFormat, device: Devices) -> ExportedBackend:
    return ExportedBackend(checkpoint, pixel_format=pixel_format, device=device)


def _restore_text(checkpoint: Checkpoint, device: Devices) -> ExportedTextBackend:
    return ExportedTextBackend(checkpoint, device=device)
