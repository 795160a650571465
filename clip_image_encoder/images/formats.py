"""The file formats that are read, and how the first bytes of a file tell its format."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from clip_image_encoder.errors import ConfigurationError, ImageError, UnsupportedImageError

__all__ = [
    "DEFAULT_FORMATS",
    "RAW_FORMATS",
    "check_format_names",
    "file_endings",
    "format_of",
    "is_allowed",
    "not_allowed",
    "raw_photo_refused",
]

# The imports register these plugins, so that Pillow does not load its dozens of others.
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
"""Formats that are read by default: their first bytes name them, and their headers give the size before decoding.

HEIF is one of them even where its extra is not installed: such a photo is then an error that names the extra.
Formats that Pillow reads and this list leaves out: ICO is decoded while it is opened, TGA and DIB have no signature,
and QOI is decoded in Python.
"""

# EPS starts Ghostscript, WMF Windows' own renderer; IPTC opens the image inside it with any plugin.
_NEVER = frozenset({"EPS", "IPTC", "WMF"})

# Formats that are read where the caller adds them to `formats=`.
_ON_REQUEST = frozenset({"CUR", "DDS", "ICO", "PCX", "PSD", "QOI", "SGI", "TGA"})

_SIGNATURES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WEBP"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"II+\0", "TIFF"),  # BigTIFF, for files of more than 4 GB
    (0, b"MM\0+", "TIFF"),
    (4, b"ftypavi", "AVIF"),
    (0, b"\0\0\0\x0cjP  ", "JPEG2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG2000"),
    (4, b"ftypcrx ", "CR3"),
    (6, b"HEAPCCDR", "CRW"),
    (0, b"\0MRM", "MRW"),
    (0, b"IIRO", "ORF"),
    (0, b"IIRS", "ORF"),
    (0, b"MMOR", "ORF"),
    (0, b"FUJIFILMCCD-RAW", "RAF"),
    (0, b"IIU\0", "RW2"),
    (0, b"FOVb", "X3F"),
    (0, b"DDS ", "DDS"),
    (0, b"\n\5\1", "PCX"),
    (0, b"\1\xda", "SGI"),
    (0, b"qoif", "QOI"),
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

RAW_FORMATS = frozenset({"CR3", "CRW", "MRW", "ORF", "RAF", "RW2", "X3F"})
"""Formats of raw photos that do not begin as a TIFF does; DNG, NEF, CR2, ARW and most others are TIFFs."""

_ICONS = {b"\0\0\1\0": "ICO", b"\0\0\2\0": "CUR"}

_HEIF_ENDINGS = frozenset({".heic", ".heics", ".heif", ".heifs", ".hif"})
_RAW_ENDINGS = frozenset(
    f".{ending}"
    for ending in (
        *("3fr", "arw", "cr2", "cr3", "crw", "dcr", "dng", "erf", "fff", "iiq", "kdc", "mef", "mos", "mrw", "nef"),
        *("nrw", "orf", "pef", "raf", "rw2", "rwl", "sr2", "srf", "srw", "x3f"),
    )
)
# The brands in a HEIF file, by the codec of its images.
_HEVC = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"})
_ANY_CODEC = frozenset({b"mif1", b"mif2", b"msf1", b"miaf"})
_AV1 = frozenset({b"avif", b"avis"})


def check_format_names(formats: object) -> None:
    """Check the names of the formats that a loader is to read.

    Raises:
        ConfigurationError: Pillow does not know a name, or the format starts other programs.
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


def file_endings(formats: Sequence[str], *, raw_photos: bool = False) -> frozenset[str]:
    """Return the endings of the names of files in these formats, such as `.jpg`, in lower case.

    Args:
        formats: Names of the formats, as Pillow writes them.
        raw_photos: Whether the endings of cameras' raw photos, such as `.dng`, are among them.
    """
    endings = frozenset(ending for ending, name in Image.EXTENSION.items() if name in formats)
    return endings | (_HEIF_ENDINGS if "HEIF" in formats else set()) | (_RAW_ENDINGS if raw_photos else set())


def is_allowed(name: str | None, formats: Sequence[str]) -> bool:
    """Tell whether an image that Pillow has opened has one of the formats.

    Where JPEG is read, MPO is, too: it is a JPEG with more images after the first, such as a phone's gain map.
    """
    return name in formats or (name == "MPO" and "JPEG" in formats)


def not_allowed(name: str | None, *, formats: Sequence[str], source: str) -> ImageError:
    """Return the error for a file in a format that is not read; it names the format, and says how to read it."""
    problem = f"the format {name} is not read" if name else "not an image in a known format"
    advice = f"; ImageLoader(formats=(*ImageLoader().formats, {name!r})) reads it, too" if name in _ON_REQUEST else ""
    return UnsupportedImageError(f"{problem}; formats that are: {', '.join(formats)}{advice}", source=source)


def raw_photo_refused(source: str) -> ImageError:
    """Return the error for a camera's raw photo where the loader refuses them; it says how to read it."""
    return UnsupportedImageError(
        "a camera's raw photo (such as DNG, NEF or CR2); develop it, pass the JPEG that the camera wrote, "
        "or let ImageLoader(raw_photos='develop') read it",
        source=source,
    )


def format_of(data: bytes) -> str | None:
    """Return the name of a file's format by its first bytes; None if they tell none."""
    if _is_heif(data):
        return "HEIF"
    for offset, signature, name in _SIGNATURES:
        if data.startswith(signature, offset):
            return name
    # P1 to P6 and Pf, then white space.
    if data[:1] == b"P" and data[1:2] in (b"1", b"2", b"3", b"4", b"5", b"6", b"f") and data[2:3].isspace():
        return "PPM"
    # A TGA without a palette begins as a CUR does, and has 0 where that counts its images.
    if data[:4] in _ICONS and data[4:6] > b"\0\0":
        return _ICONS[data[:4]]
    return "TGA" if _is_targa(data) else None


def _is_heif(data: bytes) -> bool:
    """Tell whether data is a HEIF file, and not an AVIF, which has the same boxes, by its brands (ISO/IEC 23008-12)."""
    if data[4:8] != b"ftyp":
        return False
    end = min(int.from_bytes(data[:4], "big"), 1024)
    major, brands = data[8:12], {data[at : at + 4] for at in range(16, end, 4)}
    return major in _HEVC or (major in _ANY_CODEC and (bool(_HEVC & brands) or not _AV1 & brands))


def _is_targa(data: bytes) -> bool:
    """Tell whether data without a known signature is a TGA: by its footer, or by plausible values in its header."""
    if data.endswith(b"TRUEVISION-XFILE.\0"):
        return True
    if len(data) < 18:
        return False
    has_palette, kind, depth, flags = data[1], data[2], data[16], data[17]
    size = data[12:16]
    return (
        (has_palette, kind) in {(1, 1), (1, 9), (0, 2), (0, 3), (0, 10), (0, 11)}
        and depth in (8, 15, 16, 24, 32)
        and flags & 0xC0 == 0
        and size[:2] != b"\0\0" != size[2:]
    )
