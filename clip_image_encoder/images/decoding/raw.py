"""Raw photos of cameras, such as DNG, NEF, CR2 and ARW: developed, or their preview taken, by LibRaw (an extra)."""

from __future__ import annotations

import ctypes
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, TypeAlias

from PIL import Image

from clip_image_encoder.errors import (
    CorruptImageError,
    ImageError,
    ImageTooLargeError,
    MissingExtraError,
    UnsupportedImageError,
)
from clip_image_encoder.images.decoding.tiff_directories import is_raw_tiff
from clip_image_encoder.images.formats import RAW_FORMATS
from clip_image_encoder.images.limits import check_pixels

__all__ = ["RawPhotos", "check_rawpy", "develop", "is_raw_photo", "preview_of"]

RawPhotos: TypeAlias = Literal["refuse", "develop", "preview"]

# Cost of a sensor's pixel, in ordinary pixels. Measured on 24 megapixels: 5 bytes and 8 ns at half the size, where
# four pixels of the sensor become one; 13 bytes and 55 ns in full, where each gets its missing colors.
_HALF_WEIGHT, _FULL_WEIGHT = 1.0, 1.9

# A preview of this part of the photo's short side is one of full size: cameras leave a border out.
_FULL_SIZE = 0.9

# Exponent and slope of sRGB's curve; LibRaw's default is that of television, BT.709.
_SRGB = (2.4, 12.92)

# What is left of an orientation, by LibRaw's number of it.
_UPRIGHT = {3: Image.Transpose.ROTATE_180, 5: Image.Transpose.ROTATE_90, 6: Image.Transpose.ROTATE_270}


def check_rawpy() -> None:
    """Check that rawpy, which brings LibRaw, is installed, without loading it.

    Raises:
        MissingExtraError: rawpy is not installed.
    """
    if find_spec("rawpy") is None:
        raise MissingExtraError("raw photos need rawpy: python -m pip install 'clip-image-encoder[raw]'")


def is_raw_photo(data: bytes, name: str | None, *, source: str) -> bool:
    """Tell whether a file is a camera's raw photo.

    Args:
        data: Content of the whole file.
        name: Name of the format by its first bytes, as `format_of` returns it.
        source: Short description of the input, for error messages.

    Raises:
        ImageTooLargeError: The file is a TIFF with too many directories or tags.
    """
    return name in RAW_FORMATS or (name == "TIFF" and is_raw_tiff(data, source=source))


def develop(data: bytes, *, max_pixels: int, least_side: int | None, source: str) -> Image.Image:
    """Return the developed photo, upright and in mode RGB, with the camera's white balance and in sRGB.

    Args:
        data: Content of the whole file.
        max_pixels: Largest allowed number of the sensor's pixels; of those that are developed in full, 1.9 times fewer.
        least_side: Length in pixels that the short side must keep where the photo is developed at half its size; None
            develops it in full.
        source: Short description of the input, for error messages.

    Raises:
        MissingExtraError: rawpy is not installed.
        ImageError: The photo is damaged, too large, or of a kind that LibRaw does not know.
    """
    with _opened(data, source=source) as raw:
        sizes = raw.sizes
        half = least_side is not None and min(sizes.width, sizes.height) // 2 >= least_side
        # LibRaw stretches pixels that are no squares.
        stretch = max(sizes.pixel_aspect, 1 / sizes.pixel_aspect)
        weight = stretch * (_HALF_WEIGHT if half else _FULL_WEIGHT)
        check_pixels(sizes.raw_width, sizes.raw_height, max_pixels=max_pixels, source=source, weight=weight)
        _compute_on_this_thread()
        return Image.fromarray(raw.postprocess(use_camera_wb=True, gamma=_SRGB, half_size=half)).copy()


def preview_of(data: bytes, *, least_side: int | None, source: str) -> bytes | Image.Image:
    """Return the largest preview in a raw photo: a JPEG with its orientation in its EXIF, or an upright image.

    Args:
        data: Content of the whole file.
        least_side: Least length of the preview's short side, in pixels, where that is less than the photo's; None
            takes a preview of full size only.
        source: Short description of the input, for error messages.

    Raises:
        MissingExtraError: rawpy is not installed.
        UnsupportedImageError: The photo has no preview, or only a smaller one.
        ImageError: The photo is damaged, or of a kind that LibRaw does not know.
    """
    import rawpy

    with _opened(data, source=source) as raw:
        sizes = raw.sizes
        preview = raw.extract_thumb()
        is_jpeg = preview.format is rawpy.ThumbFormat.JPEG
        with Image.open(io.BytesIO(preview.data)) if is_jpeg else Image.fromarray(preview.data) as image:
            enough = _FULL_SIZE * min(sizes.width, sizes.height)
            if min(image.size) < (enough if least_side is None else min(enough, least_side)):
                raise UnsupportedImageError(
                    f"the largest preview of the raw photo has {image.width} x {image.height} pixels, too few of "
                    f"{sizes.width} x {sizes.height}; ImageLoader(raw_photos='develop') reads it",
                    source=source,
                )
            if is_jpeg:
                return bytes(preview.data)
            return image.transpose(_UPRIGHT[sizes.flip]) if sizes.flip in _UPRIGHT else image.copy()


@contextmanager
def _opened(data: bytes, *, source: str) -> Iterator[Any]:
    """Open a raw photo without unpacking it, and turn all exceptions of the block into an ImageError."""
    check_rawpy()
    import rawpy

    try:
        with rawpy.imread(io.BytesIO(data)) as raw:
            yield raw
    except ImageError:
        raise
    except (rawpy.LibRawTooBigError, rawpy.LibRawUnsufficientMemoryError, MemoryError) as error:
        raise ImageTooLargeError("the raw photo needs more memory than LibRaw may take", source=source) from error
    except (rawpy.LibRawNoThumbnailError, rawpy.LibRawUnsupportedThumbnailError) as error:
        raise UnsupportedImageError(
            "the raw photo has no preview that can be read; ImageLoader(raw_photos='develop') reads it", source=source
        ) from error
    except rawpy.LibRawFileUnsupportedError as error:
        raise UnsupportedImageError(
            "LibRaw does not know raw photos of this kind, or the file is damaged", source=source
        ) from error
    except Exception as error:
        # Besides LibRaw's errors: those of Pillow for a preview, and of numpy for sizes that make no array.
        raise CorruptImageError("the raw photo is damaged or cut short", source=source) from error


def _compute_on_this_thread() -> None:
    """Keep LibRaw from starting threads of OpenMP; images are loaded on several threads already.

    A process that is forked after those were started does not have them, and LibRaw would wait for them forever.
    """
    set_threads = _threads_of_openmp()
    if set_threads is not None:
        set_threads(1)


@cache
def _threads_of_openmp() -> Callable[[int], object] | None:
    """Return the function that sets OpenMP's number of threads, of the OpenMP in rawpy's wheel for Linux."""
    import rawpy

    packages = Path(rawpy.__file__).parent.parent
    found = next(packages.glob("rawpy.libs/libgomp*"), None)
    return None if found is None else ctypes.CDLL(str(found)).omp_set_num_threads
