"""The backend "torch": vision and text towers in PyTorch, on the CPU, on CUDA devices and on Apple's GPUs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._forks import no_fork
from clip_image_encoder.arrays import PixelFormat, Pixels, Tokens, Vectors
from clip_image_encoder.backends._torch_devices import check_dtype, dtype_on, name_of, torch_devices
from clip_image_encoder.backends._torch_streams import lent_stream
from clip_image_encoder.backends._torch_text import TorchTextBackend
from clip_image_encoder.backends._torch_towers import Towers
from clip_image_encoder.backends._torch_vision import TorchVision
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.protocols import Output

__all__ = ["TorchBackend", "TorchTextBackend", "devices", "load", "load_text"]


class TorchBackend:
    """Runs a checkpoint's vision tower in PyTorch.

    The weights are loaded once for each device that is used, and stay there. Several threads may call the backend at
    once. A pickled backend contains the checkpoint's name and commit, not the weights.

    Args:
        checkpoint: Checkpoint to run, opened by `clip_image_encoder.checkpoint.open_checkpoint`.
        pixel_format: Size of the pixels that the backend will be given, and how it normalizes uint8 pixels.
        dtype: "float32", "float16" or "bfloat16", for all devices; "auto" means float16 if `device` is a CUDA device,
            and float32 otherwise.
        device: Name of the device, or list of names, of which the first gets the weights now; None means the first
            CUDA device, or Apple's GPU, or the CPU.
        compile: Whether `torch.compile` compiles the tower: the first batch takes about a minute, later ones are
            faster on most GPUs. It needs a C++ compiler on the CPU, and Triton on GPUs.
        cuda_graphs: Whether the kernels of a batch are recorded on CUDA devices as a CUDA graph, and launched together
            from then on; True by default. Batches are padded to 1, 2, 4 and so on to 256 images. It changes nothing
            for models of several image sizes, and for networks of other libraries.
        verify: Whether the vector of a known image is compared with that of float32 on the CPU, once in a process for
            each other device and dtype. The vector of float32 is computed once on a machine, and stored below HF_HOME.

    Raises:
        ConfigurationError: The device is not there, or the dtype or the size is not supported.
        CheckpointError: The weights are missing, damaged or of another model.
        BackendError: The vector of the known image differs from that of float32 on the CPU.

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
        cuda_graphs: bool = True,
        verify: bool = True,
    ) -> None:
        checkpoint.vision.check_size(pixel_format.size, name=checkpoint.name)
        self._dtype = check_dtype(dtype)
        self._requested = device
        first = resolve_devices(device, self.devices)[0]
        self._vision = TorchVision(
            checkpoint=checkpoint,
            pixel_format=pixel_format,
            # All devices have one dtype, so that the backend has one fingerprint.
            dtype=dtype_on(first, self._dtype),
            compile=compile,
            cuda_graphs=cuda_graphs,
            verify=verify,
        )
        self._towers = Towers(self._vision.load)
        self._dimension = self._towers.on(first).dimension

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._dimension

    @property
    def image_size(self) -> tuple[int, int] | None:
        """`(height, width)` of the pixels that it takes; None means any size that is a multiple of the patch size."""
        return self._vision.pixel_format.size

    @property
    def devices(self) -> tuple[str, ...]:
        """Names of the devices it can run on: every CUDA device, then Apple's GPU, then the CPU."""
        return torch_devices()

    @property
    def outputs(self) -> frozenset[Output]:
        """Outputs that the tower has: "pooled" and "tokens", or "tokens" alone for a SigLIP tower without its head."""
        return self._vision.checkpoint.vision.outputs

    @property
    def prefix_tokens(self) -> int:
        """Number of class and register tokens before the patch tokens."""
        return self._vision.checkpoint.vision.prefix_tokens

    @property
    def fingerprint(self) -> str:
        """Identifier of the features, made of the weights, the normalization, the size and the dtype."""
        pixels = self._vision.pixel_format
        dtype = name_of(self._vision.dtype)
        parts = (self._vision.checkpoint.fingerprint, pixels.size, pixels.mean, pixels.std, dtype)
        return f"torch({', '.join(map(str, parts))})"

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        """Return the features of a batch of images.

        Args:
            pixels: Batch `(n, H, W, 3)` uint8 RGB, or `(n, 3, H, W)` float32 that is normalized already.
            output: "pooled" for `(n, d)`; "tokens" for `(n, prefix_tokens + patches, d)`.
            device: Name of the device, one of `devices`; the weights are loaded onto it if they aren't there.

        Returns:
            Features `(n, d)` or `(n, prefix_tokens + patches, d)` float32, not normalized.
        """
        tower = self._towers.on(device)
        with no_fork(), lent_stream(device), self._towers.turn(device):
            return self._vision.features(tower, pixels, output=output, device=device)

    def __repr__(self) -> str:
        checkpoint = self._vision.checkpoint
        whose = f", through {checkpoint.vision.through}" if checkpoint.vision.through else ""
        return f"TorchBackend({checkpoint.name!r}, dtype={self._dtype!r}{whose})"

    def __reduce__(self) -> tuple[Callable[..., TorchBackend], tuple[Any, ...]]:
        settings = {
            "pixel_format": self._vision.pixel_format,
            "dtype": self._dtype,
            "device": self._requested,
            "compile": self._vision.compile,
            "cuda_graphs": self._vision.cuda_graphs,
            "verify": self._vision.verify,
        }
        return _restore, (self._vision.checkpoint, settings)


devices = torch_devices
load = TorchBackend
load_text = TorchTextBackend


def _restore(checkpoint: Checkpoint, settings: dict[str, Any]) -> TorchBackend:
    return TorchBackend(checkpoint, **settings)
