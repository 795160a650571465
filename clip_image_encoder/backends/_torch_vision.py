"""Vision towers in PyTorch: loaded onto a device, compared with float32 there, and run on batches of pixels."""

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
from clip_image_encoder.backends._torch_compiled import CompiledTower
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
    """The settings of a vision tower in PyTorch, which decide its features.

    Attributes:
        checkpoint: Checkpoint whose vision tower is run.
        pixel_format: Size of the pixels that the tower will be given, and how it normalizes uint8 pixels.
        dtype: Dtype of the weights and of the computation.
        compile: Whether `torch.compile` compiles the tower; False by default.
        cuda_graphs: Whether the kernels of a batch are recorded and launched together on CUDA devices; True by
            default.
        verify: Whether the tower is compared with float32 on the CPU when it is loaded; True by default.
    """

    checkpoint: Checkpoint
    pixel_format: PixelFormat
    dtype: torch.dtype
    compile: bool = False
    cuda_graphs: bool = True
    verify: bool = True

    def load(self, device: str) -> VisionTower:
        """Load the tower onto a device.

        Raises:
            CheckpointError: The weights are missing, damaged or of another model.
            BackendError: The vector of a known image differs from that of float32 on the CPU.
        """
        verification = self._verification(device)
        tower = self.checkpoint.vision.load(self.checkpoint.weights(self.dtype))
        take_bytes(tower, self.pixel_format)
        spec = self.checkpoint.vision
        # The class of another library that a model runs through may read the weights of layers to be replaced.
        if device == "cpu" and not self.compile and spec.through is None:
            make_quick(tower)
        if device.startswith("cuda") and spec.through is None:
            join_kernels(tower)
        moved = tower.to(device)
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)  # the weights must be there before streams of other threads read them
        if verification:
            verification.check(partial(self.features, moved, output=self._pooled, device=device))
        if self.compile:
            moved = cast("VisionTower", CompiledTower(moved))
        return cast("VisionTower", GraphedTower(moved)) if self._is_graphed_on(device) else moved

    def features(self, tower: VisionTower, pixels: Pixels, *, output: Output, device: str) -> Tokens | Vectors:
        """Return the features of a batch of images, float32 on the CPU.

        Args:
            tower: Tower that `load` returned for `device`.
            pixels: Batch `(n, H, W, 3)` uint8 RGB, or `(n, 3, H, W)` float32 that is normalized already.
            output: "pooled" for `(n, d)`; "tokens" for `(n, prefix_tokens + patches, d)`.
            device: Name of the device that the tower is on.
        """
        with inference(device):
            moved = self._as_bytes(pixels, device)
            height, width = moved.shape[1:3]
            parts = moved.split(self._at_once((height, width))) if device == "cpu" else (moved,)
            features = [tower(part, output).to("cpu", torch.float32) for part in parts]
            joined: Vectors = (features[0] if len(features) == 1 else torch.cat(features)).numpy()
        return joined

    def _is_graphed_on(self, device: str) -> bool:
        # A network of another library may do on the host what a recording can't repeat.
        is_known = self.checkpoint.vision.through is None and self.pixel_format.size is not None
        return self.cuda_graphs and is_known and device.startswith("cuda")

    def _at_once(self, size: tuple[int, int]) -> int:
        """Return the number of images of a size, `(height, width)`, that pass the tower together on the CPU."""
        spec = self.checkpoint.vision
        room = PIXELS_AT_ONCE if spec.patch_size == 1 else TOKENS_AT_ONCE
        return max(1, room // max(1, spec.patches(size)))

    def _as_bytes(self, pixels: Pixels, device: str) -> Tensor:
        """Return pixels `(n, H, W, 3)` in 0..255 on a device; normalized pixels are scaled back to that range."""
        # torch.from_numpy warns about read-only arrays, and refuses negative strides, as of flipped images.
        plain = np.require(pixels, requirements=["C", "W"])
        # Not through pinned memory, into which torch copies on all cores: on an H200 that gave nothing.
        moved = torch.from_numpy(plain).to(device)
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
