"""Which file formats are read, judged by content, and the opening of encoded data."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from clip_image_encoder.errors import ConfigurationError, CorruptImageError, ImageError, UnsupportedImageError
from clip_image_encoder.images.heif import HEIF_ENDINGS, is_heif, open_heif
from clip_image_encoder.images.limits import check_pixels
from clip_image_encoder.images.pillow_errors import pillow_errors

__all__ = ["DEFAULT_FORMATS", "check_format_names", "file_endings", "open_encoded"]

# Imported by name, these are registered: Pillow need not load its dozens of other plugins.
_PLUGINS = (
    AvifImagePlugin.AvifImageFile,
    BmpImagePlugin.BmpImageFile,
    GifImagePlugin.GifImageFile,
    Jpeg2KImagePlugin.Jpeg2KImageFile,
    JpegImagePlugin.JpegImageFile,
    MpoImagePlugin.MpoImageFile,
    PngImagePlugin.PngImageFile,
    PpmImagePlugin.PpmImageFile,
    TiffImagePlugin.TiffImageFile,
    WebPImagePlugin.WebPImageFile,
)

DEFAULT_FORMATS = tuple(sorted([*(plugin.format for plugin in _PLUGINS), "HEIF"]))
"""Formats that can be told by their first bytes and whose header gives the size before anything is decoded.

HEIF is among them whether its extra is installed or not: without it, such a photo is an error that says so.
Left out: ICO decodes while it is opened, TGA and DIB have no signature, QOI is decoded in Python.
"""

# EPS starts Ghostscript, WMF a renderer of Windows; IPTC opens what is inside it with every plugin.
_NEVER = frozenset({"EPS", "IPTC", "WMF"})

_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypavi", "AVIF"),
    (0, b"\0\0\0\x0cjP  ", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (0, b"%!PS", "EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"%PDF", "PDF"),
    (0, b"8BPS", "PSD"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML or SVG"),
    (0, b"<!DOCTYPE html", "HTML"),
    (0, b"<!doctype html", "HTML"),
    (0, b"<html", "HTML"),
)


def check_format_names(formats: object) -> None:
    """Check the names of the formats that a loader is to read.

    Raises:
        ConfigurationError: a name is none that Pillow knows, or one that starts other programs.
    """
    if not isinstance(formats, tuple) or not formats or not all(isinstance(name, str) for name in formats):
        raise ConfigurationError(f"formats must be a tuple of names such as ('JPEG', 'PNG'), not {formats!r}")
    if never := _NEVER.intersection(formats):
        raise ConfigurationError(f"formats: {', '.join(sorted(never))} would run other programs or plugins")
    if set(formats) <= {*DEFAULT_FORMATS, *Image.OPEN}:
        return
    Image.init()  # the name may be one of the plugins that Pillow loads on demand
    if unknown := set(formats) - {*DEFAULT_FORMATS, *Image.OPEN}:
        known = sorted({*DEFAULT_FORMATS, *Image.OPEN} - _NEVER)
        raise ConfigurationError(f"formats: {', '.join(sorted(unknown))} is none of {', '.join(known)}")


def file_endings(formats: Sequence[str]) -> frozenset[str]:
    """Return how the names of files in these formats end, such as `.jpg`, in small letters."""
    endings = frozenset(ending for ending, name in Image.EXTENSION.items() if name in formats)
    return endings | HEIF_ENDINGS if "HEIF" in formats else endings


def open_encoded(
    data: bytes, *, formats: Sequence[str], max_pixels: int, least_side: int | None, source: str
) -> ImageFile.ImageFile:
    """Open encoded data with the plugins of these formats alone; nothing is decoded yet.

    Args:
        data: a whole file.
        formats: Pillow's names of those allowed.
        max_pixels: height times width, at most, by the header.
        least_side: a JPEG is decoded smaller where its short side stays no less than this; None
            decodes it in full.
        source: the input in a few words.

    Raises:
        CorruptImageError: the header is damaged, or there is no data.
        UnsupportedImageError: it is another format, or none.
        ImageTooLargeError: there are more than `max_pixels` pixels, or than Pillow's own limit.
    """
    if not data:
        raise CorruptImageError("there is no data in it", source=source)
    name = _format_of(data)
    with pillow_errors(source=source, what=f"{name or 'image'} data"):
        if name == "HEIF" and name in formats:
            return open_heif(data, max_pixels=max_pixels, source=source)
        # For Pillow an MPO, a JPEG with more pictures behind the first, is a JPEG until it is open.
        names = tuple(dict.fromkeys("JPEG" if name == "MPO" else name for name in formats if name != "HEIF"))
        try:
            image = Image.open(io.BytesIO(data), formats=names)
        except UnidentifiedImageError as error:
            if name in formats:
                raise
            raise _not_allowed(name, formats=formats, source=source) from error
        if image.format not in formats:
            raise _not_allowed(image.format, formats=formats, source=source)
        check_pixels(image.width, image.height, max_pixels=max_pixels, source=source)
        if least_side is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
            _decode_smaller(image, least_side)
        return image


def _decode_smaller(image: JpegImagePlugin.JpegImageFile, least_side: int) -> None:
    width, height = image.size
    for scale in (8, 4, 2):
        # A remainder would be rounded up to a whole pixel, and with it the picture stretched: by
        # enough to shift the crop after resizing.
        if width % scale == 0 and height % scale == 0 and min(width, height) >= scale * least_side:
            # Without a mode, so that only the scale changes, and never the colours.
            image.draft(None, (width // scale, height // scale))
            return


def _not_allowed(name: str | None, *, formats: Sequence[str], source: str) -> ImageError:
    """Return the error for a format that is not read, by its name where that is known."""
    problem = f"the format {name} is not read" if name else "not an image in a known format"
    return UnsupportedImageError(f"{problem}; formats that are: {', '.join(formats)}", source=source)


def _format_of(data: bytes) -> str | None:
    """Return the format's name, if the first bytes tell it."""
    if is_heif(data):
        return "HEIF"
    for offset, signature, name in _SIGNATURES:
        if data.startswith(signature, offset):
            return name
    # P1 to P6 and Pf, then white space.
    return "PPM" if data[:1] == b"P" and data[1:2] in b"123456f" and data[2:3].isspace() else None
