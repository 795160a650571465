"""Whether components are what they are called, and fit each other."""

from __future__ import annotations

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.images import ImageLoader
from clip_image_encoder.preprocess import ClipPreprocess
from clip_image_encoder.protocols import Backend, Pooling, Preprocess

__all__ = ["check_fit", "resize_for"]


def check_fit(loader: object, preprocess: object, backend: Backend, pooling: object) -> None:
    """Check the components of an encoder, before the first image.

    Raises:
        ConfigurationError: one of them is something else, or two of them don't fit each other.
    """
    if not isinstance(loader, ImageLoader):
        raise ConfigurationError(f"loader must be an ImageLoader, not {loader!r}")
    if not callable(preprocess) or isinstance(preprocess, type):
        raise ConfigurationError(f"preprocess must be an instance or a function, not {preprocess!r}")
    if not isinstance(pooling, Pooling) or isinstance(pooling, type):
        raise ConfigurationError(f"pooling must be an instance of a Pooling, not {pooling!r}")
    if isinstance(preprocess, Preprocess) and tuple(preprocess.size) != tuple(backend.image_size):
        raise ConfigurationError(
            f"the preprocess makes pixels of size {preprocess.size}, the backend takes {backend.image_size}"
        )
    if pooling.reads not in backend.outputs:
        raise ConfigurationError(
            f"{type(pooling).__name__} reads {pooling.reads!r}, the backend gives {sorted(backend.outputs)}; "
            "pass another pooling="
        )


def resize_for(backend: object) -> ClipPreprocess:
    """Return the preprocess for a backend that comes without a checkpoint: only its size is known.

    Raises:
        ConfigurationError: it is no backend.
    """
    if not isinstance(backend, Backend) or isinstance(backend, type):
        raise ConfigurationError(f"model must be a hub id, a folder or an instance of a Backend, not {backend!r}")
    height, width = backend.image_size
    return ClipPreprocess(resize=height if height == width else (height, width), crop=(height, width))
