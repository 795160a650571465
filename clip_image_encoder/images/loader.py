"""The loader: one dispatch by the kind of the input, and what follows for each."""

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
from clip_image_encoder.images.decoding import Decoded, Truncated, decode, decode_opened, decode_pil
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
"""One picture: a path, a data: URI, encoded bytes, a binary file object, a PIL image, an array or tensor."""

_ACCEPTED = "a path, bytes, a binary file object, a PIL image, a numpy array or a tensor"

# Decoded at this multiple of the model's size or more, a JPEG is the same picture after resizing.
# Measured on photos at model size 224 and a multiple from 3 on: at least 99.8 % of the values differ by
# 2/255 or less, the others by up to 6/255, all by 0.2/255 in the mean; cosine of the vectors 0.999999.
_SPARE = 3

# Limits decide no vector. Fingerprints say of each, whatever it is, what the first version said of its default.
_FORMATS_DESCRIBED = "formats=('AVIF', 'BMP', 'GIF', 'JPEG', 'JPEG2000', 'MPO', 'PNG', 'PPM', 'TIFF', 'WEBP')"


@dataclass(frozen=True, kw_only=True)
class ImageLoader:
    """Turns one input of any kind into an upright 8-bit RGB picture.

    The same picture comes out however it arrives. Files are judged by their content, never by their
    name; of several frames the first is taken, of a PIL image the frame that it shows. An EXIF
    orientation is applied. What is transparent shows `background`. The caller's objects stay as they are.

    A file whose end is missing is refused, and so is what Pillow decodes wrong and can't be made to
    decode right. Of a TIFF that begins with a preview the first full image is taken; a camera's raw
    photo is refused by name. HEIC and HEIF are read with the extra `heif`: the primary image, turned
    as the file says; libheif scales 10 and 12 bits to 8.

    Files, PIL images and arrays that are deeper are scaled to 8 bits, black staying 0, by one rule:

    - Files that say what white is are believed: the maximum of a PGM or PPM, the bits a sample of a
      TIFF, and whether its values count from white to black.
    - uint16 (PNG, TIFF, modes `I;16...`): white is 65535; values are divided by 257 and rounded.
    - other integers (mode `I`, arrays): white is the smallest of 255, 65535 and 2**31 - 1 that is not
      below the largest value. Negative values are refused, and so are masks, whose values are 0 and 1.
    - float arrays and tensors: white is 1. Half an 8-bit step beyond 0 or 1 is clipped; NaN,
      infinities and other ranges are refused.
    - float files (mode `F`): white is the smallest of 1, 255 and 65535 that is not below the largest
      value, with the same tolerance.

    Args:
        exact: decode big JPEGs in full. If not, they are decoded at 1/2, 1/4 or 1/8 of their size,
            where that leaves 3 times the model's size and no remainder: several times faster, and
            after resizing the same to 0.2/255 in the mean, nearly everywhere to 2/255. An `ImageEncoder`
            resizes accordingly, where the preprocess is the checkpoint's: with Pillow, or quicker and the
            same to 1/255.
        background: RGB colour, 0..255, behind transparent pictures.
        channels: where arrays with three axes have theirs, "first" for `(C, H, W)`, "last" for
            `(H, W, C)`. None takes what the shape says, and refuses a shape that fits both.
        colour_profile: "ignore" takes the values as they are, as CLIP's reference does; "srgb" converts
            them by the ICC profile that the picture brings along.
        max_pixels: height times width, at most; known before anything is decoded. Where a pixel of
            a format takes more memory or time than others', it counts for as many: docs/security.md
            has the table. Pillow's own limit, twice as high by default, holds as well.
        max_bytes: of encoded data, at most.
        truncated: "raise" refuses a file whose end is missing; "keep" takes what is left of it, the
            rest being black or grey, and warns of it by name.
        formats: Pillow's names of the file formats that are read. A format that a plugin has
            registered with Pillow may be added; those that start other programs may not.
        urls: which http(s) URLs a str may be; None refuses them all.

    Raises:
        ConfigurationError: an argument is out of its range.

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

    # Fingerprints that are stored with vectors, and pickles, know the class by the name that it is imported by.
    __module__ = "clip_image_encoder.images"

    exact: bool = False
    background: tuple[int, int, int] = (255, 255, 255)
    channels: Literal["first", "last"] | None = None
    colour_profile: Literal["ignore", "srgb"] = "ignore"
    max_pixels: int = field(default=89_478_485, metadata={"fingerprint": "max_pixels=89478485"})
    max_bytes: int = field(default=100_000_000, metadata={"fingerprint": "max_bytes=100000000"})
    formats: tuple[str, ...] = field(default=DEFAULT_FORMATS, metadata={"fingerprint": _FORMATS_DESCRIBED})
    truncated: Truncated = field(default="raise", metadata={"fingerprint_omits": "raise"})
    urls: UrlPolicy | None = field(default=None, metadata={"fingerprint": "urls=None"})

    def __post_init__(self) -> None:
        check_flag(self.exact, name="exact")
        background = check_each(self.background, _check_channel, name="background", parts=("R", "G", "B"))
        object.__setattr__(self, "background", background)
        _require(
            self.channels in (None, "first", "last"), f"channels must be 'first', 'last' or None, not {self.channels!r}"
        )
        _require(
            self.colour_profile in ("ignore", "srgb"),
            f"colour_profile must be 'ignore' or 'srgb', not {self.colour_profile!r}",
        )
        for name in ("max_pixels", "max_bytes"):
            object.__setattr__(self, name, check_count(getattr(self, name), name=name))
        check_format_names(self.formats)
        _require(self.truncated in ("raise", "keep"), f"truncated must be 'raise' or 'keep', not {self.truncated!r}")
        _require(self.urls is None or isinstance(self.urls, UrlPolicy), f"urls must be a UrlPolicy, not {self.urls!r}")

    def __call__(self, item: object, /, *, model_size: tuple[int, int] | None = None) -> Image.Image:
        """Return the picture, as a new image in mode RGB that shares nothing with `item`.

        Safe to call from several threads, with the same item, too.

        Args:
            item: an `ImageInput`; anything else is refused.
            model_size: `(height, width)` that the picture will be resized to; None decodes in full.

        Raises:
            ConfigurationError: `model_size` is no size.
            ImageError: the input is no picture, damaged, too large or not there; nothing else is
                raised because of an input.
        """
        if model_size is not None:
            model_size = check_size(model_size, name="model_size")
        read = self.read(item)
        if isinstance(read, EncodedImage):
            return self._decode(read, model_size)
        if isinstance(read, Image.Image):
            return self._from_pil(read)
        image, source = image_from_array(read, channels=self.channels, max_pixels=self.max_pixels)
        return self._upright(Decoded(image=image), source)

    def read(self, item: object, /) -> EncodedImage | Image.Image | SupportsArray:
        """Return the content of what holds an encoded picture, and PIL images and arrays as they are.

        Nothing is decoded; what it returns may be called with instead of the item.

        Raises:
            ImageError: the input is of no kind that is read, or can't be read.
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
            least_side=None if self.exact or model_size is None else _SPARE * max(model_size),
            truncated=self.truncated,
            source=encoded.source,
        )
        return self._upright(decoded, encoded.source)

    def _from_pil(self, image: Image.Image) -> Image.Image:
        with lock_of(image):
            source = check_pil_image(image, formats=self.formats, max_pixels=self.max_pixels)
            data = bytes_behind(image, max_bytes=self.max_bytes)
            if data is None:
                decoded = decode_pil(image, source=source)
            else:
                assert isinstance(image, ImageFile.ImageFile)
                decoded = decode_opened(
                    image, data, max_pixels=self.max_pixels, truncated=self.truncated, source=source
                )
            upright = self._upright(decoded, source)
            if decoded.image is not image or upright.im is not image.im:
                return upright
            with pillow_errors(source=source, what="image"):
                return upright.copy()

    def _upright(self, decoded: Decoded, source: str) -> Image.Image:
        image = upright_rgb(decoded, background=self.background, colour_profile=self.colour_profile, source=source)
        # An image of its own: neither of a file's class and format, nor with an orientation to be applied once more.
        plain = image._new(image.im)
        plain.info.clear()
        return plain


def _check_channel(value: int, *, name: str) -> int:
    return check_count(value, name=name, least=0, most=255)


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigurationError(message)
