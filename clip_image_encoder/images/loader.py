"""The image loader: it tells by the type of an input how to read it, and makes an upright RGB image of it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, cast

import numpy as np
from PIL import Image, ImageFile

from clip_image_encoder._arguments import check_count, check_each, check_flag, check_size
from clip_image_encoder.errors import ConfigurationError, UnsupportedImageError
from clip_image_encoder.images.array import SupportsArray, encoded_bytes, image_from_array
from clip_image_encoder.images.decoding import (
    Decoded,
    RawPhotos,
    Truncated,
    check_rawpy,
    decode,
    decode_opened,
    decode_pil,
)
from clip_image_encoder.images.encoded import BinaryFile, EncodedImage, read_bytes, read_file, read_named, read_path
from clip_image_encoder.images.formats import DEFAULT_FORMATS, check_format_names
from clip_image_encoder.images.locks import lock_of
from clip_image_encoder.images.pil import bytes_behind, check_pil_image
from clip_image_encoder.images.pillow_errors import pillow_errors
from clip_image_encoder.images.several import has_method
from clip_image_encoder.images.upright import upright_rgb
from clip_image_encoder.images.url_policy import UrlPolicy

__all__ = ["ImageInput", "ImageLoader"]

ImageInput: TypeAlias = (
    str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryFile | Image.Image | SupportsArray
)
"""One image: a path, a URL, a data: URI, encoded bytes, a binary file object, a PIL image, an array or a tensor."""

_ACCEPTED = "a path, bytes, a binary file object, a PIL image, a numpy array or a tensor"

# A JPEG that is decoded at this multiple of the model's size, or at a larger one, looks the same after resizing.
# Measured on photos at model size 224 and multiples of 3 and more: at least 99.8 % of the values differ by
# 2/255 or less, the others by up to 6/255, all by 0.2/255 in the mean; the cosine of the vectors is 0.999999.
_SPARE = 3

# Limits change no vector. So that fingerprints stay the same, they contain the first version's default of each limit.
_FORMATS_DESCRIBED = "formats=('AVIF', 'BMP', 'GIF', 'JPEG', 'JPEG2000', 'MPO', 'PNG', 'PPM', 'TIFF', 'WEBP')"


@dataclass(frozen=True, kw_only=True)
class ImageLoader:
    """Turns one input of any kind into an upright 8-bit RGB image.

    An image gives the same result in every form. The content of a file tells its format, and its name does not.
    An animated file gives its first frame, a PIL image the frame that it shows. An EXIF orientation is applied.
    `background` shows through transparent parts. The caller's objects are not changed.

    A file whose end is missing is refused, and so is a file that Pillow decodes wrong and can't be made to
    decode right. A TIFF that begins with a preview gives its first full image; a camera's raw photo is
    refused, unless `raw_photos` says what to do with it. HEIC and HEIF are read with the extra `heif`:
    the primary image, turned as the file says; libheif scales 10 and 12 bits to 8.

    Files, PIL images and arrays of more than 8 bits are scaled to 8 bits, black staying 0, by one rule:

    - Where a file says what white is, that holds: the maximum of a PGM or PPM, the bits a sample of a
      TIFF, and whether its values count from white to black.
    - uint16 (PNG, TIFF, modes `I;16...`): white is 65535; values are divided by 257 and rounded.
    - other integers (mode `I`, arrays): white is the smallest of 255, 65535 and 2**31 - 1 that is not
      below the largest value. Negative values are refused, and so are masks, whose values are 0 and 1.
    - float arrays and tensors: white is 1. Half an 8-bit step beyond 0 or 1 is clipped; NaN,
      infinities and other ranges are refused.
    - float files (mode `F`): white is the smallest of 1, 255 and 65535 that is not below the largest
      value, with the same tolerance.

    Args:
        exact: Whether big JPEGs are decoded in full. If not, they are decoded at 1/2, 1/4 or 1/8 of their
            size, where that leaves 3 times the model's size and no remainder: several times faster, and
            after resizing the same to 0.2/255 in the mean, nearly everywhere to 2/255. An `ImageEncoder`
            with the checkpoint's own preprocess also resizes by this value: with Pillow if it is True, else
            in less time and the same to 1/255.
        background: RGB color behind transparent images, three integers in 0..255; white by default.
        channels: Axis of the channels in arrays of three axes: "first" for `(C, H, W)`, "last" for
            `(H, W, C)`. None follows the shape, and refuses a shape that can be read both ways.
        color_profile: Treatment of ICC profiles: "ignore" takes the values as they are, as CLIP's reference
            does; "srgb" converts them to sRGB by the profile in the file.
        max_pixels: Largest height times width, checked before an image is decoded. A pixel of a format that
            takes more memory or time than others counts as several: docs/explanation/security.md has the table.
            Pillow's own limit, which is twice as high by default, applies as well.
        max_bytes: Largest size of the encoded data, in bytes.
        truncated: Treatment of a file whose end is missing: "raise" refuses it; "keep" uses the part that is
            there, leaves the rest black or grey, and warns with the file's name.
        formats: Names of the file formats that are read, as Pillow writes them. A format that a plugin has
            registered with Pillow may be added, but not one that starts other programs.
        raw_photos: Treatment of cameras' raw photos, such as DNG, NEF, CR2 and ARW: "refuse" makes them errors;
            "develop" develops them with LibRaw, with the camera's white balance, and at half their size where
            that leaves 3 times the model's size and `exact` is False; "preview" takes the largest JPEG that
            the camera has put into the file, and refuses a photo whose preview is neither of full size nor,
            where `exact` is False, of 3 times the model's size. The last two need the extra `raw`.
        urls: Policy for http(s) URLs, which are given as str; None refuses every URL.

    Raises:
        ConfigurationError: An argument is out of its range.
        MissingExtraError: Raw photos are to be read, and rawpy is not installed.

    Example:
        >>> import numpy as np
        >>> loader = ImageLoader(background=(0, 0, 0))
        >>> image = loader(np.full((480, 640, 3), 0.5, np.float32))
        >>> image.mode, image.size, image.getpixel((0, 0))
        ('RGB', (640, 480), (128, 128, 128))
        >>> loader("missing.jpg")
        Traceback (most recent call last):
            ...
        clip_image_encoder.errors.ImageNotFoundError: missing.jpg: no such file
    """

    # Pickles, and fingerprints that are stored with vectors, contain the name that the class is imported by.
    __module__ = "clip_image_encoder.images"

    exact: bool = False
    background: tuple[int, int, int] = (255, 255, 255)
    channels: Literal["first", "last"] | None = None
    color_profile: Literal["ignore", "srgb"] = field(default="ignore", metadata={"fingerprint_name": "colour_profile"})
    max_pixels: int = field(default=89_478_485, metadata={"fingerprint": "max_pixels=89478485"})
    max_bytes: int = field(default=100_000_000, metadata={"fingerprint": "max_bytes=100000000"})
    formats: tuple[str, ...] = field(default=DEFAULT_FORMATS, metadata={"fingerprint": _FORMATS_DESCRIBED})
    truncated: Truncated = field(default="raise", metadata={"fingerprint_omits": "raise"})
    raw_photos: RawPhotos = field(default="refuse", metadata={"fingerprint_omits": "refuse"})
    urls: UrlPolicy | None = field(default=None, metadata={"fingerprint": "urls=None"})

    def __post_init__(self) -> None:
        check_flag(self.exact, name="exact")
        background = check_each(self.background, _check_channel, name="background", parts=("R", "G", "B"))
        object.__setattr__(self, "background", background)
        _require(
            self.channels in (None, "first", "last"), f"channels must be 'first', 'last' or None, not {self.channels!r}"
        )
        _require(
            self.color_profile in ("ignore", "srgb"),
            f"color_profile must be 'ignore' or 'srgb', not {self.color_profile!r}",
        )
        for name in ("max_pixels", "max_bytes"):
            object.__setattr__(self, name, check_count(getattr(self, name), name=name))
        check_format_names(self.formats)
        _require(self.truncated in ("raise", "keep"), f"truncated must be 'raise' or 'keep', not {self.truncated!r}")
        _require(
            self.raw_photos in ("refuse", "develop", "preview"),
            f"raw_photos must be 'refuse', 'develop' or 'preview', not {self.raw_photos!r}",
        )
        if self.raw_photos != "refuse":
            check_rawpy()
        _require(self.urls is None or isinstance(self.urls, UrlPolicy), f"urls must be a UrlPolicy, not {self.urls!r}")

    def __call__(self, item: object, /, *, model_size: tuple[int, int] | None = None) -> Image.Image:
        """Return the image as a new one in mode RGB that shares no memory with `item`.

        Several threads may call it at a time, also with the same item.

        Args:
            item: Input to load, an `ImageInput`; anything else is refused.
            model_size: `(height, width)` in pixels that the image will be resized to; None decodes it in full.

        Raises:
            ConfigurationError: `model_size` is not a size.
            ImageError: The input is not an image, or is damaged, too large or missing. An input causes no
                other exception.
        """
        if model_size is not None:
            model_size = check_size(model_size, name="model_size")
        read = self.read(item)
        if isinstance(read, EncodedImage):
            return self._decode(read, model_size)
        if isinstance(read, Image.Image):
            return self._from_pil(read, model_size)
        image, source = image_from_array(read, channels=self.channels, max_pixels=self.max_pixels)
        return self._upright(Decoded(image=image), source)

    def read(self, item: object, /) -> EncodedImage | Image.Image | SupportsArray:
        """Read the file behind an input, without decoding it; PIL images and arrays are returned as they are.

        The loader takes the returned value in the place of the item.

        Args:
            item: Input to read, an `ImageInput`; anything else is refused.

        Raises:
            ImageError: The input is not of a kind that is read, or can't be read.
        """
        if isinstance(item, (EncodedImage, Image.Image)):
            return item
        if isinstance(item, str):
            return read_named(item, urls=self.urls, max_bytes=self.max_bytes)
        if isinstance(item, os.PathLike):
            return read_path(item, max_bytes=self.max_bytes)
        if isinstance(item, (bytes, bytearray, memoryview)):
            return read_bytes(item, max_bytes=self.max_bytes)
        if has_method(item, "__array__"):
            if isinstance(item, np.ndarray) and item.ndim == 0 and item.dtype.kind in "USO":
                return self.read(item.item())  # one path, or one object of another kind
            data = encoded_bytes(item)
            return cast("SupportsArray", item) if data is None else read_bytes(data, max_bytes=self.max_bytes)
        if has_method(item, "read"):
            return read_file(cast("BinaryFile", item), max_bytes=self.max_bytes)
        what = "not an image"
        if isinstance(item, (list, tuple, Mapping)):
            what = "several values, such as a DataLoader's batch of images and labels, and not one image"
        raise UnsupportedImageError(f"{what}; pass {_ACCEPTED}", source=type(item).__name__)

    def _decode(self, encoded: EncodedImage, model_size: tuple[int, int] | None) -> Image.Image:
        decoded = decode(
            encoded.data,
            formats=self.formats,
            max_pixels=self.max_pixels,
            least_side=self._least_side(model_size),
            truncated=self.truncated,
            raw_photos=self.raw_photos,
            source=encoded.source,
        )
        return self._upright(decoded, encoded.source)

    def _least_side(self, model_size: tuple[int, int] | None) -> int | None:
        return None if self.exact or model_size is None else _SPARE * max(model_size)

    def _from_pil(self, image: Image.Image, model_size: tuple[int, int] | None) -> Image.Image:
        with lock_of(image):
            source = check_pil_image(image, formats=self.formats, max_pixels=self.max_pixels)
            data = bytes_behind(image, max_bytes=self.max_bytes)
            if data is None:
                decoded = decode_pil(image, source=source)
            else:
                assert isinstance(image, ImageFile.ImageFile)
                decoded = decode_opened(
                    image,
                    data,
                    max_pixels=self.max_pixels,
                    least_side=self._least_side(model_size),
                    truncated=self.truncated,
                    raw_photos=self.raw_photos,
                    source=source,
                )
            upright = self._upright(decoded, source)
            if decoded.image is not image or upright.im is not image.im:
                return upright
            with pillow_errors(source=source, what="image"):
                return upright.copy()

    def _upright(self, decoded: Decoded, source: str) -> Image.Image:
        image = upright_rgb(decoded, background=self.background, color_profile=self.color_profile, source=source)
        # A plain image without a file's class, format and metadata, so that no orientation is applied a second time.
        plain = image._new(image.im)
        plain.info.clear()
        return plain


def _check_channel(value: int, *, name: str) -> int:
    return check_count(value, name=name, least=0, most=255)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigurationError(message)
