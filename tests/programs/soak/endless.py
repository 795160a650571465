"""Encode 20,000 images from a generator and watch the memory: `nox -s soak`.

Fails if the process grows by 50 MB or more after its first 1,000 images.
"""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from clip_image_encoder import ImageEncoder, ImageInput

COUNT, SETTLED, MOST = 20_000, 1_000, 50.0


def resident_megabytes() -> float:
    """Return the memory that this process has now (Linux)."""
    status = Path("/proc/self/status").read_text("utf-8").split()
    return int(status[status.index("VmRSS:") + 1]) / 1000


def pictures() -> Iterator[ImageInput]:
    """Yield encoded, decoded and broken images of many sizes, no two alike."""
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        height, width = (int(side) for side in generator.integers(40, 400, 2))
        image = Image.effect_noise((width, height), float(generator.uniform(10, 90))).convert("RGB")
        buffer = io.BytesIO()
        image.save(buffer, ("JPEG", "PNG", "WEBP", "GIF")[number % 4])
        data = buffer.getvalue()
        yield (data, image, np.asarray(image), data[: len(data) // 3])[number // 4 % 4]


def main() -> None:
    """Stream them all, and print the memory every 1,000 images."""
    encoder = ImageEncoder("tiny-shapes")
    settled, failures = 0.0, 0
    for batch in encoder.stream(pictures(), batch_size=50):
        failures += len(batch.failures)
        done = batch.start + len(batch.embeddings)
        if done % 1_000 == 0:
            settled = settled or resident_megabytes()
            print(f"{done:6d} images  {failures:5d} bad  {resident_megabytes():7.1f} MB", flush=True)
    growth = resident_megabytes() - settled
    print(f"grew by {growth:.1f} MB after the first {SETTLED:,}")
    if growth >= MOST:
        raise SystemExit(f"that is {MOST:.0f} MB or more")


if __name__ == "__main__":
    main()
