"""Both towers in PyTorch, on the CPU, on CUDA and on Apple's GPUs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from threading import local
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._forks import no_fork
from clip_image_encoder.arrays import PixelFormat, Pixels, Tokens, Vectors
from clip_image_encoder.backends._cpu import PIXELS_AT_ONCE, TOKENS_AT_ONCE, make_quick
from clip_image_encoder.backends._torch_context import inference
from clip_image_encoder.backends._torch_devices import check_dtype, dtype_on, torch_devices
from clip_image_encoder.backends._torch_text import TorchTextBackend
from clip_image_encoder.backends._torch_towers import Towers
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.models._patches import denormalized, take_bytes
from clip_image_encoder.models._towers import VisionTower
from clip_image_encoder.protocols import Output

__all__ = ["TorchBackend", "TorchTextBackend", "devices", "load", "load_text"]


class TorchBackend:
    """Runs a checkpoint's vision tower in PyTorch.

    The weights are loaded once for each device that is used, and stay there. It may be called from
    several threads. Pickled, it carries the checkpoint's name and commit, not the weights.

    Args:
        checkpoint: From `clip_image_encoder.checkpoint.open_checkpoint`.
        pixel_format: Size of the pixels that will come, and how uint8 pixels are normalized.
        dtype: "float32", "float16", "bfloat16"; "auto" is float16 if `device` is a CUDA device, and float32
            if it is another; it holds for all devices that are named later.
        device: Where to load the weights now; None is the best there is.
        compile: Whether torch.compile makes kernels of the tower: quicker on most GPUs, after a minute at
            the first batch; needs what torch's compiler needs.

    Raises:
        ConfigurationError: The device, the dtype or the size can't be had.
        CheckpointError: The weights are missing, damaged or of another model.

    Example:
        >>> import numpy as np
        >>> from clip_image_encoder import PixelFormat
        >>> from clip_image_encoder.backends.torch import TorchBackend
        >>> from clip_image_encoder.checkpoint import open_checkpoint
        >>> half = (0.5, 0.5, 0.5)
        >>> pixel_format = PixelFormat(size=(64, 64), mean=half, std=half)
        >>> backend = TorchBackend(open_checkpoint("tiny-shapes"), pixel_format=pixel_format)
        >>> pixels = np.zeros((2, 64, 64, 3), np.uint8)
        >>> backend(pixels, output="pooled", device="cpu").shape == (2, backend.dimension)
        True
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        /,
        *,
        pixel_format: PixelFormat,
        dtype: str = "auto",
        device: Devices = None,
        compile: bool = False,  # noqa: A002 - as torch calls it
    ) -> None:
        checkpoint.vision.check_size(pixel_format.size, name=checkpoint.name)
        self._checkpoint = checkpoint
        self._pixel_format = pixel_format
        self._dtype = check_dtype(dtype)
        self._requested = device
        self._compile = compile
        first = resolve_devices(device, self.devices)[0]
        # One dtype for all devices, so that one fingerprint is true of all.
        self._computed_in = dtype_on(first, self._dtype)
        self._streams = local()
        self._towers = Towers(self._loaded)
        self._dimension = self._towers.on(first).dimension

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def image_size(self) -> tuple[int, int] | None:
        """`(height, width)` of the pixels that it takes; None is any size whose sides patches fill."""
        return self._pixel_format.size

    @property
    def devices(self) -> tuple[str, ...]:
        """Every CUDA device, then Apple's GPU, then the CPU."""
        return torch_devices()

    @property
    def outputs(self) -> frozenset[Output]:
        """What the tower can give; a SigLIP tower without its head has tokens only."""
        return self._checkpoint.vision.outputs

    @property
    def prefix_tokens(self) -> int:
        """Number of class and register tokens before the patches."""
        return self._checkpoint.vision.prefix_tokens

    @property
    def fingerprint(self) -> str:
        """Same string, same features: the weights, the normalization, the size and the dtype."""
        dtype = str(self._computed_in).removeprefix("torch.")
        pixels = self._pixel_format
        return f"torch({self._checkpoint.fingerprint}, {pixels.size}, {pixels.mean}, {pixels.std}, {dtype})"

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        """Encode a batch.

        Args:
            pixels: `(n, H, W, 3)` uint8 RGB, or `(n, 3, H, W)` float32 that is normalized already.
            output: "pooled" for `(n, d)`; "tokens" for `(n, prefix_tokens + patches, d)`.
            device: One of `devices`.

        Returns:
            float32 features on the CPU.
        """
        tower = self._towers.on(device)
        with no_fork(), inference(device), self._stream(device), self._towers.turn(device):
            moved = self._as_bytes(pixels, device)
            height, width = moved.shape[1:3]
            parts = moved.split(self._at_once((height, width))) if device == "cpu" else (moved,)
            features = [tower(part, output).to("cpu", torch.float32) for part in parts]
            vectors: Vectors = torch.cat(features).numpy()
        return vectors

    def __repr__(self) -> str:
        through = self._checkpoint.vision.through
        whose = f", through {through}" if through else ""
        return f"TorchBackend({self._checkpoint.name!r}, dtype={self._dtype!r}{whose})"

    def __reduce__(self) -> tuple[Callable[..., TorchBackend], tuple[Any, ...]]:
        settings = {
            "pixel_format": self._pixel_format,
            "dtype": self._dtype,
            "device": self._requested,
            "compile": self._compile,
        }
        return _restore, (self._checkpoint, settings)

    def _at_once(self, size: tuple[int, int]) -> int:
        """Return how many images of a size pass the tower together on the CPU."""
        spec = self._checkpoint.vision
        room = PIXELS_AT_ONCE if spec.patch_size == 1 else TOKENS_AT_ONCE
        return max(1, room // max(1, spec.patches(size)))

    def _as_bytes(self, pixels: Pixels, device: str) -> Tensor:
        """Return pixels `(n, H, W, 3)` in 0..255 on the device; normalised ones are brought back to that scale."""
        # torch warns of arrays that it could write to and must not, and takes no turned axes.
        plain = np.require(pixels, requirements=["C", "W"])
        tensor = torch.from_numpy(plain)
        # From pinned memory a copy runs beside what other threads compute.
        moved = tensor.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else tensor.to(device)
        return moved if moved.dtype == torch.uint8 else denormalized(moved, self._pixel_format)

    def _stream(self, device: str) -> AbstractContextManager[object]:
        """Return this thread's own queue of work on a CUDA device, so that threads don't wait for each other."""
        if not device.startswith("cuda"):
            return nullcontext()
        streams: dict[str, torch.cuda.Stream] = self._streams.__dict__
        if device not in streams:
            streams[device] = torch.cuda.Stream(device)
        return torch.cuda.stream(streams[device])

    def _loaded(self, device: str) -> VisionTower:
        tower = self._checkpoint.vision.load(self._checkpoint.weights(self._computed_in))
        take_bytes(tower, self._pixel_format)
        spec = self._checkpoint.vision
        # The code of others may read the weights of layers that would be replaced.
        if device == "cpu" and not self._compile and spec.through is None:
            make_quick(tower, tokens=spec.patches(self._pixel_format.size or spec.image_size))
        moved = tower.to(device)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)  # other threads' streams find the weights there
        return cast("VisionTower", torch.compile(moved)) if self._compile else moved


devices = torch_devices
load = TorchBackend
load_text = TorchTextBackend


def _restore(checkpoint: Checkpoint, settings: dict[str, Any]) -> TorchBackend:
    return TorchBackend(checkpoint, **settings)
