"""The processors of transformers that work on Pillow, and images to compare their pixels on."""

from __future__ import annotations

from typing import Any

import numpy as np
import transformers
from numpy.typing import NDArray
from PIL import Image


def reference(kind: str, **config: Any) -> Any:
    """Return the processor that works on Pillow: a class of its own since transformers 5."""
    processor = getattr(transformers, f"{kind}Pil", None) or getattr(transformers, kind)
    return processor(**config)


def reference_pixels(processor: Any, image: Image.Image) -> NDArray[np.uint8]:
    """Return the processor's pixels before it scales and normalizes them, `(height, width, 3)`."""
    # transformers 4 would take the 1 x 1 image, or any three pixels wide, for one whose channels come first.
    processed = processor(
        images=image, do_rescale=False, do_normalize=False, return_tensors="np", input_data_format="channels_last"
    )
    pixels: NDArray[np.uint8] = processed["pixel_values"][0].transpose(1, 2, 0)
    return pixels


def noise(width: int, height: int) -> Image.Image:
    """Return an image in which every pixel is another, and every size has its own."""
    values = np.random.default_rng(width * 7919 + height).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(values)
