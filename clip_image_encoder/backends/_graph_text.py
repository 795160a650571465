"""The base class of text backends that run exported graphs; a runtime such as ONNX Runtime runs the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._forks import no_fork
from clip_image_encoder.arrays import TokenIds, Vectors
from clip_image_encoder.backends._graph import TextGraph
from clip_image_encoder.backends._graph_runs import GraphRuns, Runtime
from clip_image_encoder.backends._quality import Quality, quality_of, tell_quality
from clip_image_encoder.backends._reference import Reference
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import ConfigurationError

__all__ = ["GraphTextBackend"]


class GraphTextBackend:
    """Runs a checkpoint's text tower as a graph that is exported once and stored on disk.

    Several threads may call the backend at once. A pickled backend contains its settings, not the graph.

    Args:
        checkpoint: Checkpoint to run, opened by `clip_image_encoder.checkpoint.open_checkpoint`.
        runtime: Runtime that runs the graph, with its dtype.
        device: Name of the device, or list of names, of which the first gets the graph now; None means the runtime's
            best device.
        verify: Whether the vector of a known text is compared with that of float32 in torch, once in a process for
            each device other than the CPU and each dtype other than float32.

    Raises:
        ConfigurationError: The device is not there, or the cache can't be written to.
        CheckpointError: The checkpoint has no text tower, or the weights are missing, damaged or of another model.
        BackendError: The vectors of the graph differ from those of torch.
    """

    def __init__(self, checkpoint: Checkpoint, runtime: Runtime, *, device: Devices, verify: bool) -> None:
        spec = checkpoint.text
        if spec.through:
            raise ConfigurationError(
                f"{checkpoint.name} runs through {spec.through}, which can't be exported as a graph; use "
                "backend='torch'"
            )
        self._checkpoint = checkpoint
        self._runtime = runtime
        self._requested = device
        self._verify = verify
        self._devices = tuple(runtime.devices)
        self._runs = GraphRuns(runtime, verify=verify)
        self._is_masked = spec.padding == "longest"
        run = self._runs.on(resolve_devices(device, self.devices)[0], self._graph(is_masked=self._is_masked))
        length = min(2, spec.max_length) if self._is_masked else spec.max_length
        ones = np.ones((1, length), np.int64)
        self._dimension: int = (run(ones, ones) if self._is_masked else run(ones)).shape[-1]
        self._quality = quality_of(self.file)
        tell_quality(f"{checkpoint.name}'s text tower", self._quality)

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def devices(self) -> Sequence[str]:
        """Names of the devices that the runtime can run on, the best first."""
        return self._devices

    @property
    def max_length(self) -> int:
        """Largest number of tokens in a text, special tokens included."""
        return self._checkpoint.text.max_length

    @property
    def fingerprint(self) -> str:
        """Identifier of the vectors, made of the weights, the runtime and its dtype."""
        return f"{self._runtime.fingerprint}(texts of {self._checkpoint.fingerprint})"

    @property
    def quality(self) -> Quality | None:
        """Comparison of the int8 graph with float32, measured when it was made; None for the other dtypes."""
        return self._quality

    @property
    def file(self) -> Path:
        """Path of the graph for texts as the tokenizer pads them, in the runtime's dtype; its weights lie beside it."""
        return self._runs.file(self._graph(is_masked=self._is_masked))

    @property
    def _reference(self) -> Reference:
        """A known text and its vector, computed by torch in float32 when the graph was exported."""
        return self._runs.reference(self._graph(is_masked=self._is_masked))

    def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
        """Return the vectors of a batch of texts.

        Args:
            token_ids: Token ids `(n, length)` int64, with `length` up to `max_length`.
            attention_mask: Mask `(n, length)` int64, 1 for a token and 0 for padding; None masks nothing.
            device: Name of the device, one of `devices`; the graph is loaded onto it if it isn't there.

        Returns:
            Vectors `(n, d)` float32, not normalized.
        """
        run = self._runs.on(device, self._graph(is_masked=attention_mask is not None))
        with no_fork():
            return run(token_ids) if attention_mask is None else run(token_ids, attention_mask)

    def __repr__(self) -> str:
        quality = "" if self._quality is None else f", {self._quality}"
        return f"{type(self).__name__}({self._checkpoint.name!r}, {self._runtime}{quality})"

    def __reduce__(self) -> tuple[Callable[..., GraphTextBackend], tuple[Any, ...]]:
        settings = {"device": self._requested, "verify": self._verify}
        return _restore, (type(self), self._checkpoint, self._runtime, settings)

    def _graph(self, *, is_masked: bool) -> TextGraph:
        return TextGraph(checkpoint=self._checkpoint, is_masked=is_masked)


def _restore(
    kind: type[GraphTextBackend], checkpoint: Checkpoint, runtime: Runtime, settings: dict[str, Any]
) -> GraphTextBackend:
    backend = kind.__new__(kind)
    GraphTextBackend.__init__(backend, checkpoint, runtime, **settings)
    return backend
