"""Image loading: an input of any kind becomes an upright RGB image. `loader` dispatches; each kind has its file."""

from __future__ import annotations

from typing import Literal  # noqa: F401 - see below

from clip_image_encoder.images.decoding import RawPhotos, Truncated  # noqa: F401 - see below
from clip_image_encoder.images.formats import DEFAULT_FORMATS
from clip_image_encoder.images.loader import ImageInput, ImageLoader
from clip_image_encoder.images.url_policy import UrlPolicy

# ImageLoader says that it is defined here: typing.get_type_hints looks up the names in its annotations here.

__all__ = ["DEFAULT_FORMATS", "ImageInput", "ImageLoader", "UrlPolicy"]
