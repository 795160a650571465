"""One vision tower in PyTorch: loaded onto a device, verified there, and given batches of pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import cast

import numpy as np
import torch
from torch import Tensor

from clip_image_encoder.arrays import PixelFormat, Pixels, Tokens, Vectors
from clip_image_encoder.backends._cpu import PIXELS_AT_ONCE, TOKENS_AT_ONCE, make_quick
from clip_image_encoder.backends._cuda import join_kernels
from clip_image_encoder.backends._cuda_graphs import GraphedTower
from clip_image_encoder.backends._reference import Reference, one_vector, reference_pixels
from clip_image_encoder.backends._torch_context import inference
from clip_image_encoder.backends._torch_devices import name_of
from clip_image_encoder.backends._verification import Verification, kept
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.models._patches import denormalized, take_bytes
from clip_image_encoder.models._towers import VisionTower
from clip_image_encoder.protocols import Output

__all__ = ["TorchVision"]


@dataclass(frozen=True, kw_only=True)
class TorchVision:
    """All that decides what a checkpoint's vision tower computes.

    Attributes:
        checkpoint: Whose tower it is.
        pixel_format: Size of the pixels that will come, and how uint8 pixels are normalized.
        dtype: What it computes in.
        compile: Whether torch.compile makes kernels of the tower.
        cuda_graphs: Whether the kernels of a batch size are recorded and launched together on CUDA devices.
        verify: Whether it is compared with float32 on the CPU.
    """

    checkpoint: Checkpoint
    pixel_format: PixelFormat
    dtype: torch.dtype
    compile: bool = False
    cuda_graphs: bool = False
    verify: bool = True

    def load(self, device: str) -> VisionTower:
        """Return the tower on a device.

        Raises:
            CheckpointError: The weights are missing, damaged or of another model.
            BackendError: It gives another vector of a known image than float32 on the CPU.
        """
        verification = self._verification(device)
        tower = self.checkpoint.vision.load(self.checkpoint.weights(self.dtype))
        take_bytes(tower, self.pixel_format)
        spec = self.checkpoint.vision
        # The code of others may read the weights of layers that would be replaced.
        if device == "cpu" and not self.compile and spec.through is None:
            make_quick(tower, tokens=spec.patches(self.pixel_format.size or spec.image_size))
        if device.startswith("cuda") and spec.through is None:
            join_kernels(tower)
        moved = tower.to(device)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)  # other threads' streams find the weights there
        if verification:
            verification.check(partial(self.features, moved, output=self._pooled, device=device))
        if self.cuda_graphs and device.startswith("cuda"):
            return cast("VisionTower", GraphedTower(moved))
        return cast("VisionTower", torch.compile(moved)) if self.compile else moved

    def features(self, tower: VisionTower, pixels: Pixels, *, output: Output, device: str) -> Tokens | Vectors:
        """Return the features of a batch, float32 on the CPU.

        Args:
            tower: What `load` returned.
            pixels: `(n, H, W, 3)` uint8 RGB, or `(n, 3, H, W)` float32 that is normalized already.
            output: "pooled" for `(n, d)`; "tokens" for `(n, prefix_tokens + patches, d)`.
            device: Where the tower is.
        """
        with inference(device):
            moved = self._as_bytes(pixels, device)
            height, width = moved.shape[1:3]
            parts = moved.split(self._at_once((height, width))) if device == "cpu" else (moved,)
            run = partial(_compiled, tower) if self.compile else tower
            features: Vectors = torch.cat([run(part, output).to("cpu", torch.float32) for part in parts]).numpy()
        return features

    def _at_once(self, size: tuple[int, int]) -> int:
        """Return how many images of a size pass the tower together on the CPU."""
        spec = self.checkpoint.vision
        room = PIXELS_AT_ONCE if spec.patch_size == 1 else TOKENS_AT_ONCE
        return max(1, room // max(1, spec.patches(size)))

    def _as_bytes(self, pixels: Pixels, device: str) -> Tensor:
        """Return pixels `(n, H, W, 3)` in 0..255 on the device; normalised ones are brought back to that scale."""
        # torch warns of arrays that it could write to and must not, and takes no turned axes.
        plain = np.require(pixels, requirements=["C", "W"])
        tensor = torch.from_numpy(plain)
        # From pinned memory a copy runs beside what other threads compute.
        moved = tensor.pin_memory().to(device, non_blocking=True) if device.startswith("cuda") else tensor.to(device)
        return moved if moved.dtype == torch.uint8 else denormalized(moved, self.pixel_format)

    @property
    def _pooled(self) -> Output:
        return "pooled" if "pooled" in self.checkpoint.vision.outputs else "tokens"

    def _verification(self, device: str) -> Verification | None:
        key = f"vision {self.pixel_format}"
        return kept(self.checkpoint, key, device, name_of(self.dtype), self._reference) if self.verify else None

    def _reference(self) -> Reference:
        exact = replace(self, dtype=torch.float32, compile=False, cuda_graphs=False)
        pixels = reference_pixels(self.pixel_format.size or self.checkpoint.vision.image_size)
        features = exact.features(exact.load("cpu"), pixels, output=self._pooled, device="cpu")
        return Reference(inputs=(pixels,), vector=one_vector(features))


def _compiled(tower: VisionTower, pixels: Tensor, output: Output) -> Tensor:
    """Run a compiled tower, of which one form serves every batch size.

    torch compiles once for the size that comes first and once more for others, unless it is told that the size varies;
    it takes 1 for a size of its own.
    """
    batch = pixels if len(pixels) > 1 else torch.cat([pixels, pixels])
    torch._dynamo.mark_dynamic(batch, 0)
    features: Tensor = tower(batch, output)
    return features[: len(pixels)]
