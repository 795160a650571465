"""Decoding of encoded data and of PIL images, with the help that Pillow needs for each format."""

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
from clip_image_encoder.images.decoding.raw import RawPhotos, develop, is_raw_photo, preview_of
from clip_image_encoder.images.decoding.tiff import TiffFile, load_tiff, loaded_tiff
from clip_image_encoder.images.decoding.transparency import transparent_value
from clip_image_encoder.images.decoding.truncation import EndingFile, Truncated, load_rows
from clip_image_encoder.images.formats import (
    DEFAULT_FORMATS,
    RAW_FORMATS,
    format_of,
    is_allowed,
    not_allowed,
    raw_photo_refused,
)
from clip_image_encoder.images.limits import check_pixels
from clip_image_encoder.images.pillow_errors import pillow_errors

__all__ = ["decode", "decode_opened", "decode_pil"]

# Largest memory of a pixel in libwebp and in libavif, over the 8 bytes of an ordinary pixel; measured with 12 bits.
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
    raw_photos: RawPhotos,
    source: str,
) -> Decoded:
    """Decode a file, with the plugins of the given formats only.

    Args:
        data: Content of the whole file.
        formats: Names of the formats that are read, as Pillow writes them.
        max_pixels: Largest allowed height times width, by the header, times the cost of a pixel of the format.
        least_side: Length in pixels that the short side of a JPEG must keep where it is decoded smaller; None
            decodes it in full.
        truncated: Treatment of a file whose end is missing: "raise" or "keep".
        raw_photos: Treatment of a camera's raw photo: "refuse", "develop" or "preview".
        source: Short description of the input, for error messages.

    Raises:
        MissingExtraError: The file is a raw photo to be read, and rawpy is not installed.
        CorruptImageError: The file is damaged, ends early or is empty.
        UnsupportedImageError: The file has another format, or none that is known.
        ImageTooLargeError: The image has too many pixels, or the file has parts that take as long as many pixels.
    """
    if not data:
        raise CorruptImageError("there is no data in it", source=source)
    name = format_of(data)
    if raw_photos != "refuse" and is_raw_photo(data, name, source=source):
        return _decode_raw(
            data, raw_photos, max_pixels=max_pixels, least_side=least_side, truncated=truncated, source=source
        )
    if name in RAW_FORMATS:
        raise raw_photo_refused(source)
    with pillow_errors(source=source, what=f"{name or 'image'} data"):
        # An MPO is a JPEG with more images after the first; Pillow tells it from a JPEG only when it opens it.
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
    """Load an image that the caller has opened or made, and whose file can't be read again.

    Args:
        image: Image to load; it is not changed otherwise.
        source: Short description of the image, for error messages.

    Raises:
        ImageError: The image can't be decoded, or Pillow has decoded it wrong.
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
    image: ImageFile.ImageFile,
    data: bytes,
    *,
    max_pixels: int,
    least_side: int | None,
    truncated: Truncated,
    raw_photos: RawPhotos,
    source: str,
) -> Decoded:
    """Load an image that the caller has opened and that Pillow has not loaded yet.

    Args:
        image: Image to load; it is not changed otherwise.
        data: Content of the whole file behind the image.
        max_pixels: Largest allowed height times width, times the cost of a pixel, as for `decode`.
        least_side: Length in pixels that the short side of a raw photo must keep, as for `decode`; other images are
            decoded in full.
        truncated: Treatment of a file whose end is missing: "raise" or "keep".
        raw_photos: Treatment of a camera's raw photo: "refuse", "develop" or "preview".
        source: Short description of the image, for error messages.

    Raises:
        MissingExtraError: The file is a raw photo to be read, and rawpy is not installed.
        ImageError: The file is damaged, unsupported or too large, as for `decode`.
    """
    if raw_photos != "refuse" and is_raw_photo(data, format_of(data), source=source):
        return _decode_raw(
            data, raw_photos, max_pixels=max_pixels, least_side=least_side, truncated=truncated, source=source
        )
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
            if image.tile:  # loading failed: the image gets its file back, for the caller to close
                image.fp = opened
        if opened is not None and image._exclusive_fp and image._close_exclusive_fp_after_loading:
            opened.close()  # as Pillow does with the files that it has opened
        return decoded


def _decode_raw(
    data: bytes,
    raw_photos: RawPhotos,
    *,
    max_pixels: int,
    least_side: int | None,
    truncated: Truncated,
    source: str,
) -> Decoded:
    """Develop a raw photo, or decode the preview in it."""
    if raw_photos == "develop":
        return Decoded(image=develop(data, max_pixels=max_pixels, least_side=least_side, source=source))
    preview = preview_of(data, least_side=least_side, source=source)
    if isinstance(preview, Image.Image):
        return Decoded(image=preview)
    return decode(
        preview,
        formats=("JPEG",),
        max_pixels=max_pixels,
        least_side=least_side,
        truncated=truncated,
        raw_photos="refuse",
        source=source,
    )


def _reopened(file: TiffFile) -> TiffImagePlugin.TiffImageFile:
    image = Image.open(file, formats=("TIFF",))
    assert isinstance(image, TiffImagePlugin.TiffImageFile)
    return image


def _prepared(data: bytes, name: str | None, *, truncated: Truncated, source: str) -> io.BytesIO:
    """Return the file in a form that Pillow reads right and in bounded time, by its format."""
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
    """Return the cost of a pixel, in ordinary pixels (see `check_pixels`)."""
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
        # libjpeg rounds a remainder up to a whole pixel, which stretches the image by enough to shift
        # the crop after resizing.
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
    """Return a loaded image with the facts that its format tells and its mode does not."""
    if isinstance(image, BmpImagePlugin.BmpImageFile):
        return Decoded(image=without_empty_alpha(image))
    if isinstance(image, GifImagePlugin.GifImageFile):
        return Decoded(image=image, transparent=transparent, mask=canvas_mask(image))
    if isinstance(image, PpmImagePlugin.PpmImageFile) and image.mode == "I":
        return Decoded(image=image, white=_WHITE_OF_PGM)
    return Decoded(image=image, transparent=transparent)
