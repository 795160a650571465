"""Backends that run the towers of an exported folder in the runtime that it was made for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._forks import no_fork
from clip_image_encoder.arrays import PixelFormat, Pixels, TokenIds, Tokens, Vectors
from clip_image_encoder.backends._exported_tower import ExportedTower
from clip_image_encoder.backends._reference import reference_pixels
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.protocols import Output

__all__ = ["ExportedBackend", "ExportedTextBackend"]


class ExportedBackend:
    """Runs the vision tower of an exported folder.

    Several threads may call the backend at once. A pickled backend contains the folder's name, not the graph.

    Args:
        checkpoint: Exported folder, opened by `clip_image_encoder.checkpoint.open_checkpoint`.
        pixel_format: Size and normalization that the folder was exported with; or a mean of 0 and a standard
            deviation of 1, for float32 pixels that are normalized already.
        dtype: Name of the dtype that the folder was exported in; "auto" means that dtype.
        device: Name of the device, or list of names, of which the first gets the graph now; None means the runtime's
            best device.
        verify: Whether the vector of a known image is compared, on each device, with the one stored in the folder.

    Raises:
        ConfigurationError: The device is not there, or the folder was exported in another dtype or for other pixels.
        MissingExtraError: The runtime that the folder was made for is not installed.
        CheckpointError: Files are missing or damaged.
        BackendError: The vector of the known image differs from the one stored in the folder.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        /,
        *,
        pixel_format: PixelFormat,
        dtype: str = "auto",
        device: Devices = None,
        verify: bool = True,
    ) -> None:
        self._checkpoint = checkpoint
        self._pixel_format = pixel_format
        self._requested = device
        self._verify = verify
        self._size = checkpoint.vision.image_size
        self._tower = ExportedTower(checkpoint, "vision", dtype, (reference_pixels(self._size),), verify=verify)
        self._exported = self._exported_format()
        if pixel_format not in (self._exported, _normalized_already(self._size)):
            raise ConfigurationError(
                f"{checkpoint.name} was exported with its preprocess, which makes {self._exported}, not "
                f"{pixel_format}; leave preprocess= out"
            )
        self._tower.on(resolve_devices(device, self.devices)[0])

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._tower.values["dimension"])

    @property
    def image_size(self) -> tuple[int, int]:
        """`(height, width)` of the pixels that it takes."""
        return self._size

    @property
    def devices(self) -> Sequence[str]:
        """Names of the devices that the runtime can run on, the best first."""
        return self._tower.devices

    @property
    def outputs(self) -> frozenset[Output]:
        """The one output that the folder was exported with, "pooled" or "tokens"."""
        return self._checkpoint.vision.outputs

    @property
    def prefix_tokens(self) -> int:
        """Number of class and register tokens before the patch tokens; 0 where there are no tokens."""
        return self._checkpoint.vision.prefix_tokens

    @property
    def fingerprint(self) -> str:
        """Identifier of the vectors, made of the runtime and the folder's config, which has its files' digests."""
        return f"exported({self._checkpoint.fingerprint}, {self._tower.runtime.fingerprint})"

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:  # noqa: ARG002
        """Return the features of a batch of images.

        Args:
            pixels: Batch `(n, H, W, 3)` uint8 RGB; or `(n, 3, H, W)` float32, normalized with the mean and the
                standard deviation of the export, which is rounded to uint8, since the graph takes that.
            output: Output that the folder was exported with, the only one in `outputs`.
            device: Name of the device, one of `devices`; the graph is loaded onto it if it isn't there.

        Returns:
            Features `(n, d)` float32 for "pooled", not normalized, or `(n, prefix_tokens + patches, d)` for "tokens".

        Raises:
            ConfigurationError: The pixels are uint8, and the backend was made for pixels that are normalized already.
        """
        if pixels.dtype != np.uint8:
            taken = _as_bytes(pixels, self._exported)
        elif self._pixel_format == self._exported:
            taken = np.ascontiguousarray(pixels)
        else:
            raise ConfigurationError(
                f"{self._checkpoint.name} was exported for pixels in {self._exported}; give that as pixel_format to a "
                "backend that takes uint8 pixels"
            )
        run = self._tower.on(device)
        with no_fork():
            return run(taken)

    def __repr__(self) -> str:
        return f"ExportedBackend({self._checkpoint.name!r}, {self._tower})"

    def __reduce__(self) -> tuple[Callable[..., ExportedBackend | ExportedTextBackend], tuple[Any, ...]]:
        settings = {"pixel_format": self._pixel_format, "device": self._requested, "verify": self._verify}
        return _restore, (ExportedBackend, self._checkpoint, settings)

    def _exported_format(self) -> PixelFormat:
        stored = self._tower.values["pixel_format"]
        return PixelFormat(size=self._size, mean=tuple(stored["mean"]), std=tuple(stored["std"]))


class ExportedTextBackend:
    """Runs the text tower of an exported folder.

    Several threads may call the backend at once. A pickled backend contains the folder's name, not the graph.

    Args:
        checkpoint: Exported folder, opened by `clip_image_encoder.checkpoint.open_checkpoint`.
        dtype: Name of the dtype that the folder was exported in; "auto" means that dtype.
        device: Name of the device, or list of names, of which the first gets the graph now; None means the runtime's
            best device.
        verify: Whether the vector of a known text is compared, on each device, with the one stored in the folder.

    Raises:
        ConfigurationError: The device is not there, or the folder was exported in another dtype.
        MissingExtraError: The runtime that the folder was made for is not installed.
        CheckpointError: Files are missing or damaged.
        BackendError: The vector of the known text differs from the one stored in the folder.
    """

    def __init__(
        self, checkpoint: Checkpoint, /, *, dtype: str = "auto", device: Devices = None, verify: bool = True
    ) -> None:
        self._max_length = checkpoint.text.max_length
        self._is_masked = checkpoint.text.padding == "longest"
        self._checkpoint = checkpoint
        self._requested = device
        self._verify = verify
        token_ids = np.array([checkpoint.config["text"]["token_ids"]], np.int64)
        known = (token_ids, np.ones_like(token_ids)) if self._is_masked else (token_ids,)
        self._tower = ExportedTower(checkpoint, "text", dtype, known, verify=verify)
        self._tower.on(resolve_devices(device, self.devices)[0])

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return int(self._tower.values["dimension"])

    @property
    def devices(self) -> Sequence[str]:
        """Names of the devices that the runtime can run on, the best first."""
        return self._tower.devices

    @property
    def max_length(self) -> int:
        """Largest number of tokens in a text, special tokens included."""
        return self._max_length

    @property
    def fingerprint(self) -> str:
        """Identifier of the vectors, made of the runtime and the folder's config, which has its files' digests."""
        return f"exported texts({self._checkpoint.fingerprint}, {self._tower.runtime.fingerprint})"

    def __call__(self, token_ids: TokenIds, attention_mask: TokenIds | None, /, *, device: str) -> Vectors:
        """Return the vectors of a batch of texts.

        Args:
            token_ids: Token ids `(n, length)` int64, with `length` up to `max_length`.
            attention_mask: Mask `(n, length)` int64, 1 for a token and 0 for padding; None masks nothing.
            device: Name of the device, one of `devices`; the graph is loaded onto it if it isn't there.

        Returns:
            Vectors `(n, d)` float32, not normalized.
        """
        run = self._tower.on(device)
        mask = np.ones_like(token_ids) if attention_mask is None else attention_mask
        with no_fork():
            return run(token_ids, mask) if self._is_masked else run(token_ids)

    def __repr__(self) -> str:
        return f"ExportedTextBackend({self._checkpoint.name!r}, {self._tower})"

    def __reduce__(self) -> tuple[Callable[..., ExportedBackend | ExportedTextBackend], tuple[Any, ...]]:
        settings = {"device": self._requested, "verify": self._verify}
        return _restore, (ExportedTextBackend, self._checkpoint, settings)


def _normalized_already(size: tuple[int, int]) -> PixelFormat:
    """Return the pixel format that an encoder assumes for a preprocess that is a plain function."""
    return PixelFormat(size=size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def _as_bytes(pixels: Pixels, pixel_format: PixelFormat) -> NDArray[np.uint8]:
    """Return pixels `(n, H, W, 3)` uint8 for normalized ones `(n, 3, H, W)` float32: the inverse of normalizing."""
    scaled = (pixels.transpose(0, 2, 3, 1) * np.array(pixel_format.std) + np.array(pixel_format.mean)) * 255
    rounded: NDArray[np.uint8] = np.rint(scaled).clip(0, 255).astype(np.uint8, order="C")
    return rounded


def _restore(
    kind: Callable[..., ExportedBackend | ExportedTextBackend], checkpoint: Checkpoint, settings: dict[str, Any]
) -> ExportedBackend | ExportedTextBackend:
    return kind(checkpoint, **settings)
