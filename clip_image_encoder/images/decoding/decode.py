"""From encoded data or a PIL image to a decoded one, with the help that Pillow needs for each format."""

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
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from clip_image_encoder.errors import CorruptImageError
from clip_image_encoder.images.decoding.bmp import alpha_of_16_bits, bmp_weight, without_empty_alpha
from clip_image_encoder.images.decoding.decoded import Decoded
from clip_image_encoder.images.decoding.gif import canvas_mask, check_blocks
from clip_image_encoder.images.decoding.heif import open_heif
from clip_image_encoder.images.decoding.jpeg import JpegFile, load_jpeg
from clip_image_encoder.images.decoding.jpeg2000 import Jpeg2000File, load_jpeg2000, loaded_jpeg2000
from clip_image_encoder.images.decoding.png import load_png, png_weight, relevant_chunks
from clip_image_encoder.images.decoding.pnm import check_header, load_pnm, pnm_weight
from clip_image_encoder.images.decoding.tiff import TiffFile, load_tiff, loaded_tiff
from clip_image_encoder.images.decoding.transparency import transparent_value
from clip_image_encoder.images.decoding.truncation import EndingFile, Truncated, load_rows
from clip_image_encoder.images.formats import DEFAULT_FORMATS, format_of, is_allowed, not_allowed
from clip_image_encoder.images.limits import check_pixels
from clip_image_encoder.images.pillow_errors import pillow_errors

__all__ = ["decode", "decode_opened", "decode_pil"]

# Bytes that libwebp and libavif hold for a pixel at most, over the 8 of an ordinary one; measured with 12 bits.
_WEBP_WEIGHT = 2.0
_AVIF_WEIGHTS = {"L": 1.0, "RGB": 1.8, "RGBA": 2.2}

_WHITE_OF_PGM = 65535


def decode(
    data: bytes,
    *,
    formats: Sequence[str],
    max_pixels: int,
    least_side: int | None,
    truncated: Truncated,
    source: str,
) -> Decoded:
    """Decode a file with the plugins of these formats alone.

    Args:
        data: a whole file.
        formats: Pillow's names of those allowed.
        max_pixels: height times width, at most, by the header, times what a pixel costs.
        least_side: a JPEG is decoded smaller where its short side stays no less than this; None
            decodes it in full.
        truncated: what becomes of a file whose end is missing.
        source: the input in a few words.

    Raises:
        CorruptImageError: the file is damaged or ends early, or there is no data.
        UnsupportedImageError: it is another format, or none.
        ImageTooLargeError: there are too many pixels, or parts that take as long as many pixels.
    """
    if not data:
        raise CorruptImageError("there is no data in it", source=source)
    name = format_of(data)
    with pillow_errors(source=source, what=f"{name or 'image'} data"):
        # For Pillow an MPO, a JPEG with more images behind the first, is a JPEG until it is open.
        may_be_mpo = name == "JPEG" and "MPO" in formats
        if name in DEFAULT_FORMATS and not is_allowed(name, formats) and not may_be_mpo:
            raise not_allowed(name, formats=formats, source=source)
        if name == "HEIF":
            heif = open_heif(data, max_pixels=max_pixels, source=source)
            heif.load()
            return Decoded(image=heif)
        file = _prepared(data, name, truncated=truncated, source=source)
        names = tuple(dict.fromkeys("JPEG" if name == "MPO" else name for name in formats if name != "HEIF"))
        try:
            image = Image.open(file, formats=names)
        except UnidentifiedImageError as error:
            if name in formats:
                raise
            raise not_allowed(name, formats=formats, source=source) from error
        if not is_allowed(image.format, formats):
            raise not_allowed(image.format, formats=formats, source=source)
        weight = _weight(image, file)
        check_pixels(image.width, image.height, max_pixels=max_pixels, source=source, weight=weight)
        if least_side is not None and isinstance(image, JpegImagePlugin.JpegImageFile):
            _decode_smaller(image, least_side)
        return _load(image, file, truncated=truncated, source=source)


def decode_pil(image: Image.Image, *, source: str) -> Decoded:
    """Load an image of the caller's whose file is not at hand; loading it is all that happens to it.

    Raises:
        ImageError: it can't be decoded, or Pillow has decoded it wrong.
    """
    with pillow_errors(source=source, what=f"{image.format or 'image'} data"):
        transparent = transparent_value(image)
        image.load()
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            return loaded_tiff(image, source=source)
        if isinstance(image, Jpeg2KImagePlugin.Jpeg2KImageFile):
            return Decoded(image=loaded_jpeg2000(image, source=source))
        return _described(image, transparent)


def decode_opened(
    image: ImageFile.ImageFile, data: bytes, *, max_pixels: int, truncated: Truncated, source: str
) -> Decoded:
    """Load an image that the caller has opened, and that Pillow has not read yet.

    Args:
        image: loading it is all that happens to it.
        data: the whole file behind it.
        max_pixels: as for `decode`.
        truncated: as for `decode`.
        source: the image in a few words.

    Raises:
        ImageError: as for `decode`.
    """
    with pillow_errors(source=source, what=f"{image.format} data"):
        file = _prepared(data, format_of(data), truncated=truncated, source=source)
        weight = _weight(image, file)
        check_pixels(image.width, image.height, max_pixels=max_pixels, source=source, weight=weight)
        if isinstance(file, TiffFile) and file.starts_with_preview:
            return load_tiff(_reopened(file), file, truncated=truncated, source=source)
        opened = image.fp
        try:
            decoded = _load(image, file, truncated=truncated, source=source)
        finally:
            if image.tile:  # it failed, and the image is still the caller's to close
                image.fp = opened
        if opened is not None and image._exclusive_fp and image._close_exclusive_fp_after_loading:
            opened.close()  # as Pillow does with the files that it has opened
        return decoded


def _reopened(file: TiffFile) -> TiffImagePlugin.TiffImageFile:
    image = Image.open(file, formats=("TIFF",))
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    return image


def _prepared(data: bytes, name: str | None, *, truncated: Truncated, source: str) -> io.BytesIO:
    """Return the file as Pillow reads it right and soon, by its format."""
    if name == "JPEG":
        return JpegFile(data, source=source)
    if name == "TIFF":
        return TiffFile(data, source=source)
    if name == "JPEG2000":
        return Jpeg2000File(data, source=source)
    if name == "PNG":
        return io.BytesIO(relevant_chunks(data, truncated=truncated, source=source))
    if name == "GIF":
        check_blocks(data, source=source)
    elif name == "PPM":
        check_header(data, source=source)
    return io.BytesIO(data)


def _weight(image: ImageFile.ImageFile, file: io.BytesIO) -> float:
    """Return what a pixel costs while it is decoded, in ordinary ones."""
    if isinstance(file, (JpegFile, TiffFile, Jpeg2000File)):
        return file.weight
    if isinstance(image, WebPImagePlugin.WebPImageFile):
        return _WEBP_WEIGHT
    if isinstance(image, AvifImagePlugin.AvifImageFile):
        return _AVIF_WEIGHTS.get(image.mode, max(_AVIF_WEIGHTS.values()))
    if isinstance(image, PngImagePlugin.PngImageFile):
        return png_weight(file.getvalue())
    if isinstance(image, BmpImagePlugin.BmpImageFile):
        return bmp_weight(file.getvalue())
    if isinstance(image, PpmImagePlugin.PpmImageFile):
        return pnm_weight(file.getvalue())
    return 1.0


def _decode_smaller(image: JpegImagePlugin.JpegImageFile, least_side: int) -> None:
    width, height = image.size
    for scale in (8, 4, 2):
        # A remainder would be rounded up to a whole pixel, and with it the image stretched: by
        # enough to shift the crop after resizing.
        if width % scale == 0 and height % scale == 0 and min(width, height) >= scale * least_side:
            # Without a mode, so that only the scale changes, and never the colors.
            image.draft(None, (width // scale, height // scale))
            return


def _load(image: ImageFile.ImageFile, file: io.BytesIO, *, truncated: Truncated, source: str) -> Decoded:
    """Load an image whose file has been prepared."""
    transparent = transparent_value(image)
    if isinstance(image, TiffImagePlugin.TiffImageFile) and isinstance(file, TiffFile):
        return load_tiff(image, file, truncated=truncated, source=source)
    if isinstance(image, Jpeg2KImagePlugin.Jpeg2KImageFile) and isinstance(file, Jpeg2000File):
        return Decoded(image=load_jpeg2000(image, file, source=source))
    if isinstance(image, PpmImagePlugin.PpmImageFile):
        return _described(load_pnm(image, file, truncated=truncated, source=source), transparent)
    if isinstance(image, JpegImagePlugin.JpegImageFile) and isinstance(file, JpegFile):
        load_jpeg(image, file, truncated=truncated, source=source)
    elif isinstance(image, PngImagePlugin.PngImageFile):
        load_png(image, file, truncated=truncated, source=source)
    elif isinstance(image, BmpImagePlugin.BmpImageFile):
        image.fp = EndingFile(file.getvalue())
        load_rows(image, truncated=truncated, source=source)
        return Decoded(image=without_empty_alpha(image), mask=alpha_of_16_bits(image, file.getvalue()))
    elif isinstance(image, GifImagePlugin.GifImageFile):
        image.fp = EndingFile(file.getvalue())
        load_rows(image, truncated=truncated, source=source)
    else:
        image.load()
    return _described(image, transparent)


def _described(image: Image.Image, transparent: int | tuple[int, ...] | None) -> Decoded:
    """Return a loaded image with what its format says of it beyond its mode."""
    if isinstance(image, BmpImagePlugin.BmpImageFile):
        return Decoded(image=without_empty_alpha(image))
    if isinstance(image, GifImagePlugin.GifImageFile):
        return Decoded(image=image, transparent=transparent, mask=canvas_mask(image))
    if isinstance(image, PpmImagePlugin.PpmImageFile) and image.mode == "I":
        return Decoded(image=image, white=_WHITE_OF_PGM)
    return Decoded(image=image, transparent=transparent)
