"""The base class of image backends that run exported graphs; a runtime such as ONNX Runtime runs the graph."""

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
    """Runs a checkpoint's vision tower as a graph that is exported once and stored on disk.

    A graph is exported when it is first needed, by torch in a process of its own, and compared with torch's features;
    this process does not import torch. Several threads may call the backend at once. A pickled backend contains its
    settings, not the graph.

    Args:
        checkpoint: Checkpoint to run, opened by `clip_image_encoder.checkpoint.open_checkpoint`.
        runtime: Runtime that runs the graph, with its dtype.
        pixel_format: Size of the pixels that the backend will be given, and how it normalizes uint8 pixels.
        device: Name of the device, or list of names, of which the first gets the graph now; None means the runtime's
            best device.
        verify: Whether the vector of a known image is compared with that of float32 in torch, once in a process for
            each device other than the CPU and each dtype other than float32.

    Raises:
        ConfigurationError: The device is not there, the size is not supported, or the cache can't be written to.
        CheckpointError: The weights are missing, damaged or of another model.
        BackendError: The features of the graph differ from those of torch.
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
                f"{checkpoint.name} runs through {checkpoint.vision.through}, which can't be exported as a graph; use "
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
        """Names of the devices that the runtime can run on, the best first."""
        return self._devices

    @property
    def outputs(self) -> frozenset[Output]:
        """Outputs that the tower has: "pooled" and "tokens", or "tokens" alone for a SigLIP tower without its head."""
        return self._graph.checkpoint.vision.outputs

    @property
    def prefix_tokens(self) -> int:
        """Number of class and register tokens before the patch tokens."""
        return self._graph.checkpoint.vision.prefix_tokens

    @property
    def fingerprint(self) -> str:
        """Identifier of the features, made of the weights, the normalization, the size, the runtime and its dtype."""
        pixels = self._graph.pixel_format
        parts = (self._graph.checkpoint.fingerprint, pixels.size, pixels.mean, pixels.std)
        return f"{self._runtime.fingerprint}({', '.join(map(str, parts))})"

    @property
    def quality(self) -> Quality | None:
        """Comparison of the int8 graph with float32, measured when it was made; None for the other dtypes."""
        return self._quality

    @property
    def file(self) -> Path:
        """Path of the graph from uint8 pixels to pooled features, in the runtime's dtype; its weights lie beside it."""
        return self._runs.file(self._graph)

    def file_of(self, output: Output) -> Path:
        """Return the path of the graph from uint8 pixels to an output, in the runtime's dtype."""
        return self._runs.file(replace(self._graph, output=output))

    def _reference_of(self, output: Output) -> Reference:
        """Return a known image and its vector, computed by torch in float32 when the graph was exported."""
        return self._runs.reference(replace(self._graph, output=output))

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        """Return the features of a batch of images.

        Args:
            pixels: Batch `(n, H, W, 3)` uint8 RGB, or `(n, 3, H, W)` float32 that is normalized already.
            output: "pooled" for `(n, d)`; "tokens" for `(n, prefix_tokens + patches, d)`.
            device: Name of the device, one of `devices`; the graph is loaded onto it if it isn't there.

        Returns:
            Features `(n, d)` or `(n, prefix_tokens + patches, d)` float32, not normalized.
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
