"""Images and texts as CLIP vectors: float32 numpy arrays of length 1, for search, comparison and training.

Example:
    >>> from clip_image_encoder import ImageEncoder, TextEncoder
    >>> from PIL import Image
    >>> red, blue = Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")
    >>> vectors = ImageEncoder("tiny-shapes").encode([red, blue])
    >>> query = TextEncoder("tiny-shapes").encode("something red")
    >>> int((vectors @ query).argmax())
    0
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from clip_image_encoder.arrays import PixelFormat
    from clip_image_encoder.batches import EncodedBatch
    from clip_image_encoder.encoder import ImageEncoder
    from clip_image_encoder.errors import (
        BackendError,
        CheckpointError,
        ClosedError,
        ConfigurationError,
        ContractError,
        CorruptImageError,
        EncoderError,
        ImageError,
        ImageFetchError,
        ImageNotFoundError,
        ImageTooLargeError,
        MissingExtraError,
        QueueFullError,
        ServingError,
        UnsupportedImageError,
    )
    from clip_image_encoder.images import ImageInput, ImageLoader, UrlPolicy
    from clip_image_encoder.pooling import ClassTokenPooling, MeanPatchesPooling, PretrainedPooling
    from clip_image_encoder.preprocess import ClipPreprocess, NaflexPreprocess, OpenClipPreprocess
    from clip_image_encoder.protocols import Backend, Output, Pooling, Preprocess, Reads, TextBackend, Tokenizer
    from clip_image_encoder.text import TextEncoder

__all__ = [
    "Backend",
    "BackendError",
    "CheckpointError",
    "ClassTokenPooling",
    "ClipPreprocess",
    "ClosedError",
    "ConfigurationError",
    "ContractError",
    "CorruptImageError",
    "EncodedBatch",
    "EncoderError",
    "ImageEncoder",
    "ImageError",
    "ImageFetchError",
    "ImageInput",
    "ImageLoader",
    "ImageNotFoundError",
    "ImageTooLargeError",
    "MeanPatchesPooling",
    "MissingExtraError",
    "NaflexPreprocess",
    "OpenClipPreprocess",
    "Output",
    "PixelFormat",
    "Pooling",
    "Preprocess",
    "PretrainedPooling",
    "QueueFullError",
    "Reads",
    "ServingError",
    "TextBackend",
    "TextEncoder",
    "Tokenizer",
    "UnsupportedImageError",
    "UrlPolicy",
]

__version__ = "0.1.0"

_HOMES = {
    "Backend": "protocols",
    "ClassTokenPooling": "pooling",
    "ClipPreprocess": "preprocess",
    "EncodedBatch": "batches",
    "ImageEncoder": "encoder",
    "ImageInput": "images",
    "ImageLoader": "images",
    "MeanPatchesPooling": "pooling",
    "NaflexPreprocess": "preprocess",
    "OpenClipPreprocess": "preprocess",
    "Output": "protocols",
    "PixelFormat": "arrays",
    "Pooling": "protocols",
    "Preprocess": "protocols",
    "PretrainedPooling": "pooling",
    "Reads": "protocols",
    "TextBackend": "protocols",
    "TextEncoder": "text",
    "Tokenizer": "protocols",
    "UrlPolicy": "images",
}


def _import(name: str) -> object:
    # Torch takes seconds to import, so it is imported with the first name that needs it (PEP 562).
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


if not TYPE_CHECKING:  # with a module-level __getattr__, a type checker accepts any misspelt name
    __getattr__ = _import


def __dir__() -> list[str]:
    return sorted(__all__)
