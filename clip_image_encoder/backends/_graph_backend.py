"""A backend that runs exported graphs, in whatever runtime can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._forks import no_fork
from clip_image_encoder.arrays import PixelFormat, Pixels, Tokens, Vectors
from clip_image_encoder.backends._graph import VisionGraph
from clip_image_encoder.backends._graph_runs import GraphRuns, Runtime
from clip_image_encoder.backends._quality import Quality, quality_of, tell_quality
from clip_image_encoder.backends._reference import Reference
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.protocols import Output

__all__ = ["GraphBackend"]


class GraphBackend:
    """Runs a checkpoint's vision tower as a graph that was exported once and is kept on disk.

    A graph is exported when it is first needed, by torch in a process of its own, and compared with
    torch's results; here torch is not even imported. It may be called from several threads, and
    pickles as its configuration.

    Args:
        checkpoint: from `clip_image_encoder.checkpoint.open_checkpoint`.
        runtime: what runs the graph, and in which dtype.
        pixel_format: size of the pixels that will come, and how uint8 pixels are normalized.
        device: where to load the graph now; None is the best there is.
        verify: whether the vector of a known image is compared with that of float32 in torch, where it is loaded on
            another device than the CPU, or in another dtype than float32.

    Raises:
        ConfigurationError: the device or the size can't be had, or the graph can't be kept.
        CheckpointError: the weights are missing, damaged or of another model.
        BackendError: the exported graph gives other features than torch.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        runtime: Runtime,
        *,
        pixel_format: PixelFormat,
        device: Devices,
        verify: bool,
    ) -> None:
        if pixel_format.size is None:
            raise ConfigurationError(
                f"a graph takes pixels of one size, and the preprocess of {checkpoint.name} keeps each image's aspect "
                "ratio; use backend='torch', or squash all images to a square: "
                "preprocess=ClipPreprocess.from_config(open_checkpoint(model).preprocessor_config)"
            )
        if checkpoint.vision.through:
            raise ConfigurationError(
                f"{checkpoint.name} runs through {checkpoint.vision.through}, of which no graph is exported; use "
                "backend='torch'"
            )
        checkpoint.vision.check_size(pixel_format.size, name=checkpoint.name)
        self._graph = VisionGraph(
            checkpoint=checkpoint,
            pixel_format=pixel_format,
            output="pooled" if "pooled" in checkpoint.vision.outputs else "tokens",
            pixels="uint8",
        )
        self._runtime = runtime
        self._requested = device
        self._verify = verify
        self._devices = tuple(runtime.devices)
        self._runs = GraphRuns(runtime, verify=verify)
        run = self._runs.on(resolve_devices(device, self.devices)[0], self._graph)
        self._dimension: int = run(np.zeros((1, *self.image_size, 3), np.uint8)).shape[-1]
        self._quality = quality_of(self.file)
        tell_quality(checkpoint.name, self._quality)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def image_size(self) -> tuple[int, int]:
        """`(height, width)` of the pixels that it takes."""
        return self._graph.size

    @property
    def devices(self) -> Sequence[str]:
        """What the runtime can run on, the best first."""
        return self._devices

    @property
    def outputs(self) -> frozenset[Output]:
        """What the tower can give; a SigLIP tower without its head has tokens only."""
        return self._graph.checkpoint.vision.outputs

    @property
    def prefix_tokens(self) -> int:
        """Number of class and register tokens before the patches."""
        return self._graph.checkpoint.vision.prefix_tokens

    @property
    def fingerprint(self) -> str:
        """Same string, same features: the weights, the normalization, the size, the runtime and its dtype."""
        pixels = self._graph.pixel_format
        parts = (self._graph.checkpoint.fingerprint, pixels.size, pixels.mean, pixels.std)
        return f"{self._runtime.fingerprint}({', '.join(map(str, parts))})"

    @property
    def quality(self) -> Quality | None:
        """How near an int8 graph is to float32, measured when it was made; None for the other dtypes."""
        return self._quality

    @property
    def file(self) -> Path:
        """The graph that takes uint8 pixels and pools, in the runtime's dtype; its weights lie beside it."""
        return self._runs.file(self._graph)

    def file_of(self, output: Output) -> Path:
        """Return the graph that takes uint8 pixels and gives an output, likewise."""
        return self._runs.file(replace(self._graph, output=output))

    def _reference_of(self, output: Output) -> Reference:
        """Return a known image, and the vector that torch gave of it in float32 when that graph was exported."""
        return self._runs.reference(replace(self._graph, output=output))

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        """Encode a batch.

        Args:
            pixels: `(n, H, W, 3)` uint8 RGB, or `(n, 3, H, W)` float32 that is normalized already.
            output: "pooled" for `(n, d)`; "tokens" for `(n, prefix_tokens + patches, d)`.
            device: One of `devices`.

        Returns:
            float32 features.
        """
        kind: Literal["uint8", "float32"] = "uint8" if pixels.dtype == np.uint8 else "float32"
        plain: Pixels = np.ascontiguousarray(pixels)  # type: ignore[assignment]  # of the same dtype
        run = self._runs.on(device, replace(self._graph, output=output, pixels=kind))
        with no_fork():
            return run(plain)

    def __repr__(self) -> str:
        quality = "" if self._quality is None else f", {self._quality}"
        return f"{type(self).__name__}({self._graph.checkpoint.name!r}, {self._runtime}{quality})"

    def __reduce__(self) -> tuple[Callable[..., GraphBackend], tuple[Any, ...]]:
        settings = {"pixel_format": self._graph.pixel_format, "device": self._requested, "verify": self._verify}
        return _restore, (type(self), self._graph.checkpoint, self._runtime, settings)


def _restore(
    kind: type[GraphBackend], checkpoint: Checkpoint, runtime: Runtime, settings: dict[str, Any]
) -> GraphBackend:
    backend = kind.__new__(kind)
    GraphBackend.__init__(backend, checkpoint, runtime, **settings)
    return backend
