"""JPEG 2000: channels put in their order, and white restored where Pillow makes black of it."""

from __future__ import annotations

import io
import os
from pathlib import Path

from PIL import Image, Jpeg2KImagePlugin

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images.decoding.jpeg2000_deep import with_half_the_range, with_whites
from clip_image_encoder.images.decoding.jpeg2000_header import Jpeg2000Header, read_header

__all__ = ["Jpeg2000File", "load_jpeg2000", "loaded_jpeg2000"]

# Costs by the number of channels. openjpeg takes 8 bytes and about 10 ns a sample; deep samples are decoded twice.
_WEIGHTS = {1: 1.5, 2: 3.0, 3: 4.0}
_WEIGHT_OF_MORE = 5.0
_WEIGHT_OF_DEEP = 2.0


class Jpeg2000File(io.BytesIO):
    """A JPEG 2000 in memory whose header has been read.

    Attributes:
        header: Facts about the samples; None if the boxes or the codestream can't be parsed.

    Raises:
        UnsupportedImageError: Pillow decodes samples of this kind wrong.
        ImageTooLargeError: The file has more than 65,536 tiles, or more than 10,000 boxes in one place.
    """

    def __init__(self, data: bytes, *, source: str) -> None:
        self.header = read_header(data, source=source)
        if self.header is not None:
            self.header.check(source=source)
        super().__init__(data)

    @property
    def weight(self) -> float:
        """Cost of a pixel, in ordinary pixels (see `check_pixels`)."""
        if self.header is None:
            return _WEIGHT_OF_MORE
        weight = _WEIGHTS.get(len(self.header.depths), _WEIGHT_OF_MORE)
        return weight * _WEIGHT_OF_DEEP if self.header.is_deep else weight


def load_jpeg2000(image: Jpeg2KImagePlugin.Jpeg2KImageFile, file: Jpeg2000File, *, source: str) -> Image.Image:
    """Load an image, and return it, or a new one whose channels are in their order.

    Raises:
        UnsupportedImageError: Pillow decodes samples of this kind wrong.
    """
    image.load()
    header = file.header
    if header is None:
        return image
    if not header.is_deep or image.mode == "I;16":
        return _in_order(image, header)
    half_the_range = with_half_the_range(file.getvalue(), header.start)
    if half_the_range is None:
        raise UnsupportedImageError(
            f"JPEG 2000 of {max(header.depths)} bits, coded in a way that Pillow decodes wrong; save it as PNG or TIFF",
            source=source,
        )
    with Image.open(io.BytesIO(half_the_range), formats=("JPEG2000",)) as half:
        return _in_order(with_whites(image, half), header)


def loaded_jpeg2000(image: Jpeg2KImagePlugin.Jpeg2KImageFile, *, source: str) -> Image.Image:
    """Return an image that the caller has loaded, or a new one whose channels are in their order.

    Raises:
        UnsupportedImageError: Pillow has decoded it wrong, or the image does not tell whether Pillow has.
    """
    if len(image.getbands()) == 1:
        return image
    header = None
    path = Path(os.fsdecode(image.filename))
    if image.filename and path.is_file():
        header = read_header(path.read_bytes(), source=source)
    if header is None:
        raise UnsupportedImageError(
            "a loaded JPEG 2000 in color does not say how deep its samples were; "
            "pass the file, or a copy() if they had 8 bits",
            source=source,
        )
    header.check(source=source)
    if header.is_deep:
        raise UnsupportedImageError(
            f"JPEG 2000 of {max(header.depths)} bits, which Pillow has decoded wrong; pass the file", source=source
        )
    return _in_order(image, header)


def _in_order(image: Image.Image, header: Jpeg2000Header) -> Image.Image:
    """Return an image with its channels in their order and values from 0 to 255."""
    if image.mode not in ("L", "LA", "RGB", "RGBA"):
        return image
    straight = tuple(range(len(image.getbands())))
    order = header.order or straight
    if order == straight and min(header.depths) >= 8 and not header.is_premultiplied:
        return image
    bands = [
        band if depth >= 8 else band.point([_spread(value, depth) for value in range(256)])
        for band, depth in zip(image.split(), header.depths, strict=True)
    ]
    merged = Image.merge({1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}[len(order)], [bands[channel] for channel in order])
    return _unmultiplied(merged) if header.is_premultiplied else merged


def _spread(value: int, depth: int) -> int:
    """Return a sample of fewer than 8 bits on the scale of 0..255; Pillow has only shifted it to the left."""
    return round((value >> (8 - depth)) * 255 / ((1 << depth) - 1))


def _unmultiplied(image: Image.Image) -> Image.Image:
    """Return an image with the colors divided by its alpha, with which they were multiplied."""
    premultiplied = Image.frombytes(f"{image.mode[:-1]}a", image.size, image.tobytes())
    return premultiplied.convert(image.mode)
