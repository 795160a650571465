"""TIFF: the meaning of the samples by their tags (TIFF 6.0), where Pillow decodes them as something else."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass

from PIL import Image, ImageFile, TiffImagePlugin
from PIL import __version__ as pillow_version

from clip_image_encoder.errors import UnsupportedImageError
from clip_image_encoder.images.decoding.decoded import Decoded
from clip_image_encoder.images.decoding.tiff_directories import Directory, Tag, full_image, point_to
from clip_image_encoder.images.decoding.truncation import (
    EndingFile,
    Truncated,
    load_rows,
    report_missing,
    unpacked_size,
)
from clip_image_encoder.images.limits import check_parts

__all__ = ["TiffFile", "load_tiff", "loaded_tiff"]

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _YCBCR = 0, 1, 6
_RAW, _OLD_JPEG, _JPEG = 1, 6, 7
_PLANES = 2
_SIGNED = 2
_UNASSOCIATED = 2
_DEFLATE = (8, 32946)

# 89 million pixels are 22,000 tiles of 64 x 64, the smallest in use.
_MOST_PIECES = 65_536
_MOST_COLORS = 3 * 65_536
_MOST_CHANNELS = 64
_USUAL_SCANS = 16
_ORDINARY_BITS = 24

# Before Pillow 13, the arguments of its libtiff decoder contain the compression.
_COMPRESSION_IS_NAMED = int(pillow_version.partition(".")[0]) < 13

# In a big-endian file, libtiff swaps the bytes of numbers, and Pillow swaps them again unless the raw mode is native.
_NATIVE_ORDER = {
    **{f"F;32{order}F": "F;32NF" for order in ("", "B")},
    **{f"I;32{order}S": "I;32NS" for order in ("", "B")},
    **{f"I;16{order}S": "I;16NS" for order in ("", "B")},
}


@dataclass(frozen=True, kw_only=True)
class _Samples:
    """Values of the tags that tell what a sample means."""

    photometric: int
    bits: int
    kind: int
    compression: int
    planar: int
    extra: tuple[int, ...]
    subsampling: tuple[int, ...]
    color_map: tuple[int, ...]
    big_endian: bool

    @property
    def is_scattered(self) -> bool:
        """Whether the samples of a pixel lie in several places, which Pillow decodes right only by libtiff."""
        planes = self.planar == _PLANES and self.bits > 8
        subsampled = self.photometric == _YCBCR and self.subsampling != (1, 1)
        return self.compression == _RAW and (planes or subsampled)

    def problem(self, mode: str) -> str | None:
        """Return a name for the kind of these samples if Pillow can't be made to decode it right; else None."""
        in_planes = self.planar == _PLANES
        if in_planes and self.compression != _RAW and mode in ("LA", "La", "PA"):
            return "grey and alpha in planes"
        if self.is_scattered and self.extra not in ((), (_UNASSOCIATED,)):
            return "16 bits and extra channels in planes"
        if self.bits == 12 and self.compression in (_OLD_JPEG, _JPEG):
            return "JPEG of 12 bits"
        return None

    @property
    def is_swapped(self) -> bool:
        """Whether libtiff swaps the bytes of numbers before Pillow swaps them again."""
        return self.compression != _RAW and self.big_endian


class TiffFile(io.BytesIO):
    """A TIFF in memory, changed so that its first full image comes first, in a form that Pillow decodes.

    Attributes:
        directory: Directory of the first full image; None if the directories are damaged or cut short.
        starts_with_preview: Whether another image came first in the original file.

    Raises:
        UnsupportedImageError: The file is a raw photo, or contains only a preview.
        ImageTooLargeError: The file has more than 65,536 strips or tiles, or too many directories or tags.
    """

    starts_with_preview = False

    def __init__(self, data: bytes, *, source: str) -> None:
        self.directory = full_image(data, source=source)
        if self.directory is not None:
            _check_counts(self.directory, source=source)
            pointed = point_to(self.directory)
            self.starts_with_preview = pointed is not data
            data = _with_black_zero(pointed, self.directory)
        super().__init__(data)

    @property
    def weight(self) -> float:
        """Cost of a pixel, in ordinary pixels: each byte takes time, and a strip or tile is kept beside the image."""
        directory = self.directory
        if directory is None:
            return 1.0
        pixels = max(1, directory.value(Tag.WIDTH, 1) * directory.value(Tag.HEIGHT, 1))
        piece = _pixels_of_a_piece(directory) / pixels
        bits = sum(directory.values(Tag.BITS))
        return max((4 + bits / 8 * piece) / 8, bits / _ORDINARY_BITS, self._extra_scans() * piece / _USUAL_SCANS)

    def _extra_scans(self) -> int:
        """Return the number of scans in the JPEGs of a TIFF, without the first scan of each."""
        assert self.directory is not None
        if self.directory.value(Tag.COMPRESSION, _RAW) not in (_OLD_JPEG, _JPEG):
            return 0
        return max(0, self.getvalue().count(b"\xff\xda") - _pieces(self.directory))


def load_tiff(image: TiffImagePlugin.TiffImageFile, file: TiffFile, *, truncated: Truncated, source: str) -> Decoded:
    """Load an image, and return it with the facts about its samples that the tags tell.

    Raises:
        CorruptImageError: The end of a strip or tile is missing and `truncated` is "raise".
        UnsupportedImageError: Pillow can't be made to decode samples of this kind right.
    """
    if file.directory is None:
        image.load()
        return Decoded(image=image)
    samples = _samples_of(file.directory)
    if problem := samples.problem(image.mode):
        raise UnsupportedImageError(f"a TIFF with {problem}, which Pillow decodes wrong; save it anew", source=source)
    if samples.is_scattered:
        _decode_by_libtiff(image, samples, file.directory)
    if image.use_load_libtiff:
        _check_ends(file.getvalue(), file.directory, truncated=truncated, source=source)
        _keep_native_order(image)
        image.load()
    else:
        image.fp = EndingFile(file.getvalue())
        load_rows(image, truncated=truncated, source=source)
    return _decoded(image, samples)


def loaded_tiff(image: TiffImagePlugin.TiffImageFile, *, source: str) -> Decoded:
    """Return an image that the caller has loaded, with the facts about its samples that the tags tell.

    Raises:
        UnsupportedImageError: The image is a preview, or Pillow has decoded its samples wrong.
    """
    tags = image.tag_v2
    if image.tell() == 0 and tags.get(Tag.NEW_SUBFILE_TYPE, 0) & 0b101:
        raise UnsupportedImageError(
            "it shows the preview of a larger image in its file; pass the file, or a copy() if it is meant",
            source=source,
        )
    samples = _Samples(
        photometric=tags.get(Tag.PHOTOMETRIC, 0),
        bits=_first(tags.get(Tag.BITS, 1)),
        kind=_first(tags.get(Tag.SAMPLE_FORMAT, 1)),
        compression=tags.get(Tag.COMPRESSION, _RAW),
        planar=tags.get(Tag.PLANAR, 1),
        extra=tuple(tags.get(Tag.EXTRA_SAMPLES, ())),
        subsampling=tuple(tags.get(Tag.YCBCR_SUBSAMPLING, (2, 2))),
        color_map=tuple(tags.get(Tag.COLOR_MAP, ())),
        big_endian=tags.prefix == b"MM",
    )
    if samples.problem(image.mode) or samples.is_scattered or (samples.is_swapped and image.mode in ("I", "F")):
        raise UnsupportedImageError("Pillow has decoded this kind of TIFF wrong; pass the file", source=source)
    return _decoded(image, samples)


def _samples_of(directory: Directory) -> _Samples:
    return _Samples(
        photometric=directory.value(Tag.PHOTOMETRIC, 0),
        bits=directory.value(Tag.BITS, 1),
        kind=directory.value(Tag.SAMPLE_FORMAT, 1),
        compression=directory.value(Tag.COMPRESSION, _RAW),
        planar=directory.value(Tag.PLANAR, 1),
        extra=directory.values(Tag.EXTRA_SAMPLES),
        subsampling=directory.values(Tag.YCBCR_SUBSAMPLING) or (2, 2),
        color_map=directory.values(Tag.COLOR_MAP),
        big_endian=directory.order == ">",
    )


def _first(values: int | tuple[int, ...]) -> int:
    return values[0] if isinstance(values, tuple) else values


def _decoded(image: Image.Image, samples: _Samples) -> Decoded:
    if image.mode in ("P", "PA") and max(samples.color_map, default=0) < 256:
        # Palettes have 16 bits a color, but some writers fill only 8: libtiff, too, tells by the largest value.
        image = image.copy()
        third = len(samples.color_map) // 3
        colors = zip(*(samples.color_map[start * third :][:third] for start in range(3)), strict=True)
        image.putpalette(bytes(value for color in colors for value in color))
    deep = samples.bits > 8 and image.mode in ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
    return Decoded(
        image=image,
        white=2**samples.bits - 1 if deep and samples.bits < 16 else None,
        white_is_zero=deep and samples.photometric == _WHITE_IS_ZERO,
        signed=image.mode == "L" and samples.bits == 8 and samples.kind == _SIGNED,
    )


def _check_counts(directory: Directory, *, source: str) -> None:
    check_parts(_pieces(directory), most=_MOST_PIECES, parts="strips or tiles", source=source)
    check_parts(directory.count(Tag.COLOR_MAP), most=_MOST_COLORS, parts="colors", source=source)
    for tag in (Tag.BITS, Tag.SAMPLE_FORMAT, Tag.EXTRA_SAMPLES):
        check_parts(directory.count(tag), most=_MOST_CHANNELS, parts="channels", source=source)


def _pieces(directory: Directory) -> int:
    return max(directory.count(Tag.STRIP_OFFSETS), directory.count(Tag.TILE_OFFSETS))


def _pixels_of_a_piece(directory: Directory) -> int:
    width, height = directory.value(Tag.WIDTH, 1), directory.value(Tag.HEIGHT, 1)
    if Tag.TILE_OFFSETS in directory.tags:
        return directory.value(Tag.TILE_WIDTH, width) * directory.value(Tag.TILE_HEIGHT, height)
    return width * min(height, directory.value(Tag.ROWS_A_STRIP, height))


def _with_black_zero(data: bytes, directory: Directory) -> bytes:
    """Return the file with samples of more than 8 bits that count from white declared as counting from black.

    Pillow opens the former in some byte orders and depths only, and never inverts them; `Decoded` says that they count
    from white.
    """
    samples = _samples_of(directory)
    if samples.photometric != _WHITE_IS_ZERO or samples.bits <= 8:
        return data
    _, _, place = directory.tags[Tag.PHOTOMETRIC]
    return data[:place] + struct.pack(f"{directory.order}H", _BLACK_IS_ZERO) + data[place + 2 :]


def _decode_by_libtiff(image: TiffImagePlugin.TiffImageFile, samples: _Samples, directory: Directory) -> None:
    """Make Pillow decode an uncompressed image by libtiff, which it uses on its own only for compressed ones."""
    if samples.photometric == _YCBCR:
        image._mode, raw_mode = "RGB", "RGBX"
    else:
        raw_mode = f"{image.mode};16N"
    extents = (0, 0, directory.value(Tag.WIDTH, 0), directory.value(Tag.HEIGHT, 0))
    arguments: tuple[object, ...] = (raw_mode, False, image.tag_v2.offset)
    if _COMPRESSION_IS_NAMED:
        arguments = (raw_mode, "raw", *arguments[1:])
    image.tile = [ImageFile._Tile("libtiff", extents, 0, arguments)]
    image.use_load_libtiff = True


def _keep_native_order(image: TiffImagePlugin.TiffImageFile) -> None:
    name, extents, offset, arguments = image.tile[0]
    assert isinstance(arguments, tuple)
    raw_mode = _NATIVE_ORDER.get(arguments[0], arguments[0])
    image.tile = [ImageFile._Tile(name, extents, offset, (raw_mode, *arguments[1:]))]


def _check_ends(data: bytes, directory: Directory, *, truncated: Truncated, source: str) -> None:
    """Check the ends of strips and tiles that libtiff does not check: it fills a JPEG with grey, and unpacks zeros."""
    compression = directory.value(Tag.COMPRESSION, _RAW)
    if compression == _JPEG:
        is_whole = _is_whole_jpeg
    elif compression in _DEFLATE:
        is_whole = _is_whole_stream
    else:
        return
    offsets = directory.values(Tag.STRIP_OFFSETS) or directory.values(Tag.TILE_OFFSETS)
    sizes = directory.values(Tag.STRIP_SIZES) or directory.values(Tag.TILE_SIZES)
    if not all(is_whole(data[offset : offset + size]) for offset, size in zip(offsets, sizes, strict=False)):
        report_missing("the end of a strip or tile is missing", truncated=truncated, source=source)


def _is_whole_jpeg(piece: bytes) -> bool:
    return piece.rstrip(b"\0").endswith(b"\xff\xd9")


def _is_whole_stream(piece: bytes) -> bool:
    """Tell whether a zlib stream has its end; it is unpacked only if its last bytes are zeros."""
    if not piece.endswith(bytes(8)):
        return True
    inflater = zlib.decompressobj()
    try:
        unpacked_size(piece, inflater)
    except zlib.error:
        return False
    return inflater.eof
