"""Both towers in PyTorch, on the CPU, on CUDA and on Apple's GPUs."""

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
from clip_image_encoder.errors import ConfigurationError
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
        cuda_graphs: Whether the kernels of batches of 1, 2, 4 and so on to 256 images are recorded on CUDA devices, and
            launched together from then on; others are padded to the next of these sizes. Not measured on a GPU yet.
        verify: Whether the vector of a known image is compared with that of float32 on the CPU, on other devices and
            in other dtypes, once in a process; the first time on a machine, float32's is computed and kept below
            HF_HOME.

    Raises:
        ConfigurationError: The device, the dtype or the size can't be had.
        CheckpointError: The weights are missing, damaged or of another model.
        BackendError: The known image has another vector than float32 gives on the CPU.

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
        cuda_graphs: bool = False,
        verify: bool = True,
    ) -> None:
        checkpoint.vision.check_size(pixel_format.size, name=checkpoint.name)
        self._dtype = check_dtype(dtype)
        self._requested = device
        first = resolve_devices(device, self.devices)[0]
        if cuda_graphs and (compile or pixel_format.size is None or not first.startswith("cuda")):
            raise ConfigurationError(
                "cuda_graphs needs a CUDA device and a model of one image size, and does not go with compile"
            )
        self._vision = TorchVision(
            checkpoint=checkpoint,
            pixel_format=pixel_format,
            # One dtype for all devices, so that one fingerprint is true of all.
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
        """`(height, width)` of the pixels that it takes; None is any size whose sides patches fill."""
        return self._vision.pixel_format.size

    @property
    def devices(self) -> tuple[str, ...]:
        """Every CUDA device, then Apple's GPU, then the CPU."""
        return torch_devices()

    @property
    def outputs(self) -> frozenset[Output]:
        """What the tower can give; a SigLIP tower without its head has tokens only."""
        return self._vision.checkpoint.vision.outputs

    @property
    def prefix_tokens(self) -> int:
        """Number of class and register tokens before the patches."""
        return self._vision.checkpoint.vision.prefix_tokens

    @property
    def fingerprint(self) -> str:
        """Same string, same features: the weights, the normalization, the size and the dtype."""
        pixels = self._vision.pixel_format
        dtype = name_of(self._vision.dtype)
        parts = (self._vision.checkpoint.fingerprint, pixels.size, pixels.mean, pixels.std, dtype)
        return f"torch({', '.join(map(str, parts))})"

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
