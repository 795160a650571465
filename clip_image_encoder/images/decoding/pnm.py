"""PBM, PGM and PPM (netpbm): a limit for their headers, and samples whose white is neither 255 nor 65535."""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image, PpmImagePlugin

from clip_image_encoder.errors import CorruptImageError
from clip_image_encoder.images.decoding.truncation import EndingFile, Truncated, load_rows, report_missing

__all__ = ["check_header", "load_pnm", "pnm_weight"]

# Limited, since Pillow reads a header byte by byte, comments included.
_LONGEST_HEADER = 65_536

# Pillow decodes the text formats in Python, which takes 250 ns a number.
_TEXT_WEIGHTS = {b"P1": 2.0, b"P2": 24.0, b"P3": 64.0}


def check_header(data: bytes, *, source: str) -> None:
    """Check that the header tells the size of the image within its first 64 kB.

    Raises:
        CorruptImageError: The header is longer.
    """
    if len(re.sub(rb"#[^\r\n]*", b"", data[:_LONGEST_HEADER]).split()) < 3:
        raise CorruptImageError("the PPM header does not end", source=source)


def pnm_weight(data: bytes) -> float:
    """Return the cost of a pixel, in ordinary pixels (see `check_pixels`)."""
    return _TEXT_WEIGHTS.get(data[:2], 1.0)


def load_pnm(image: PpmImagePlugin.PpmImageFile, file: io.BytesIO, *, truncated: Truncated, source: str) -> Image.Image:
    """Load an image, and return it or a new one in its place.

    Binary samples whose white is neither 255 nor 65535 are scaled here, since Pillow scales them in Python.

    Raises:
        CorruptImageError: The end of the file is missing and `truncated` is "raise".
    """
    name, _, offset, arguments = image.tile[0]
    if name == "ppm_plain":
        image.load()
        return image
    if name != "ppm":
        image.fp = EndingFile(file.getvalue())
        load_rows(image, truncated=truncated, source=source)
        return image
    assert isinstance(arguments, tuple)
    white = int(arguments[1])
    dtype = np.dtype(np.uint8 if white < 256 else ">u2")
    shape = (image.height, image.width * (3 if image.mode == "RGB" else 1))
    data = file.getvalue()
    missing = offset + shape[0] * shape[1] * dtype.itemsize - len(data)
    if missing > 0:
        report_missing("the end of its PPM data is missing", truncated=truncated, source=source)
        data += bytes(missing)
    values = np.frombuffer(data, dtype, shape[0] * shape[1], offset).reshape(shape)
    scale = np.rint(np.arange(256 if white < 256 else 65536) * (255 / white)).clip(0, 255).astype(np.uint8)
    pixels = np.empty(shape, np.uint8)
    for row, samples in zip(pixels, values, strict=True):
        row[:] = scale[samples]
    return Image.fromarray(pixels.reshape(image.height, image.width, 3) if image.mode == "RGB" else pixels)
