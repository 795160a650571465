"""Coverage-guided fuzzing of the loader and the preprocess: `nox -s fuzz [-- SECONDS]`.

Anything but an image or an ImageError is a finding: atheris stops, and leaves the input in a file whose
name begins with `crash-`. A finding becomes a test in tests/promises/hostile before it is mended.
"""

import sys
import tempfile
import warnings
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "clip_image_encoder"]):
    import numpy as np
    from PIL import Image

    from clip_image_encoder import ClipPreprocess, ImageError, ImageLoader

from tests.promises.hostile.hostile_files import every_format

LOADERS = (
    ImageLoader(max_pixels=10**6),
    ImageLoader(max_pixels=10**6, color_profile="srgb", exact=True, background=(1, 2, 3)),
)
DTYPES = ("u1", "u2", "u4", "i2", "i4", "i8", "f2", "f4", "f8", "?")
PREPROCESS = ClipPreprocess(resize=32, crop=(32, 32))


def check(data: bytes) -> None:
    """Load bytes, as a file and as an array, and preprocess what comes of them."""
    items: list[object] = [data, data.decode("latin-1")]
    if len(data) > 12:
        shape = [1 + data[0] % 9, 1 + data[1] % 9, 1 + data[2] % 5][: 2 + data[3] % 2]
        dtype = np.dtype(DTYPES[data[4] % len(DTYPES)])
        count = int(np.prod(shape))
        items.append(np.frombuffer(data[5:].ljust(count * 8, b"\1")[: count * dtype.itemsize], dtype).reshape(shape))
    for item in items:
        for loader in LOADERS:
            try:
                image = loader(item, model_size=(32, 32))
            except ImageError as error:
                if len(str(error)) > 600 or not str(error).isprintable():
                    raise AssertionError(f"not a short, clean message: {error!r}") from error
                continue
            if image.mode != "RGB" or PREPROCESS(image).shape != (32, 32, 3):
                raise AssertionError(f"not an image: {image}")


def main() -> None:
    """Fuzz from a sound file of each format on, for so many seconds."""
    seconds = sys.argv[1] if len(sys.argv) > 1 else "300"
    warnings.simplefilter("ignore")
    Image.init()
    with tempfile.TemporaryDirectory() as corpus:
        for name, data in every_format().items():
            (Path(corpus) / name.replace(" ", "-")).write_bytes(data)
        atheris.Setup(
            [sys.argv[0], f"-max_total_time={seconds}", "-max_len=20000", "-timeout=20", "-rss_limit_mb=4000", corpus],
            check,
        )
        atheris.Fuzz()


if __name__ == "__main__":
    main()
