"""A text backend that runs exported graphs, in whatever runtime can."""

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
    """Runs a checkpoint's text tower as a graph that was exported once and is kept on disk.

    It may be called from several threads, and pickles as its configuration.

    Args:
        checkpoint: From `clip_image_encoder.checkpoint.open_checkpoint`.
        runtime: What runs the graph, and in which dtype.
        device: Where to load the graph now; None is the best there is.
        verify: Whether the vector of a known text is compared with that of float32 in torch, where it is loaded on
            another device than the CPU, or in another dtype than float32.

    Raises:
        ConfigurationError: The device is not there, or the graph has no place where it can be kept.
        CheckpointError: The checkpoint has no text tower, or the weights are missing, damaged or of another model.
        BackendError: The exported graph gives other vectors than torch.
    """

    def __init__(self, checkpoint: Checkpoint, runtime: Runtime, *, device: Devices, verify: bool) -> None:
        spec = checkpoint.text
        if spec.through:
            raise ConfigurationError(
                f"{checkpoint.name} runs through {spec.through}, of which no graph is exported; use backend='torch'"
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
        """What the runtime can run on, the best first."""
        return self._devices

    @property
    def max_length(self) -> int:
        """Number of tokens that the tower reads, special ones included."""
        return self._checkpoint.text.max_length

    @property
    def fingerprint(self) -> str:
        """Same string, same vectors: the weights, the runtime and its dtype."""
        return f"{self._runtime.fingerprint}(texts of {self._checkpoint.fingerprint})"

    @property
    def quality(self) -> Quality | None:
        """How near an int8 graph is to float32, measured when it was made; None for the other dtypes."""
        return self._quality

    @property
    def file(self) -> Path:
        """The graph that takes texts as the tokenizer pads them, in the runtime's dtype; its weights lie beside it."""
        return self._runs.file(self._graph(is_masked=self._is_masked))

    @property
    def _reference(self) -> Reference:
        """A known text, and the vector that torch gave of it in float32 when the graph was exported."""
        return self._runs.reference(self._graph(is_masked=self._is_masked))

    def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
        """Encode a batch.

        Args:
            token_ids: `(n, length)`, with `length` up to `max_length`.
            attention_mask: The same shape, 1 for a token and 0 for padding; None where nothing is masked.
            device: One of `devices`.

        Returns:
            `(n, d)` float32, not normalized.
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
