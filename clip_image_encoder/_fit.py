"""The parts of an encoder, found and fitted: whether they are what they are called, before the first image."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args

import numpy as np
from PIL.Image import Image

from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder._devices import Devices
from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.backends import Load
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import ConfigurationError, ImageError
from clip_image_encoder.images import ImageLoader
from clip_image_encoder.preprocess import ClipPreprocess, OpenClipPreprocess, preprocess_of
from clip_image_encoder.protocols import Backend, Pooling, Preprocess, Reads

__all__ = [
    "check_backend_fits",
    "check_components",
    "check_is_backend",
    "check_is_load",
    "check_left_out",
    "is_loaded",
    "load_backend",
    "shape_left_alone",
    "take_backend",
]


def check_components(loader: object, preprocess: object, pooling: object) -> None:
    """Check that each of them is what it is called; None is what is taken by default.

    Raises:
        ConfigurationError: One of them is something else.
    """
    if loader is not None and not isinstance(loader, ImageLoader):
        raise ConfigurationError(f"loader must be an ImageLoader, not {loader!r}")
    if preprocess is not None and (not callable(preprocess) or isinstance(preprocess, type)):
        raise ConfigurationError(f"preprocess must be an instance or a function, not {preprocess!r}")
    if pooling is not None and (not isinstance(pooling, Pooling) or isinstance(pooling, type)):
        raise ConfigurationError(f"pooling must be an instance of a Pooling, not {pooling!r}")
    if isinstance(pooling, Pooling) and pooling.reads not in get_args(Reads):
        wanted = ", ".join(map(repr, get_args(Reads)))
        raise ConfigurationError(f"{type(pooling).__name__} reads {pooling.reads!r}; it must be one of {wanted}")


def is_loaded(backend: object) -> bool:
    """Tell an instance of a backend, complete or not, from a name and from what loads one."""
    return not isinstance(backend, (str, type)) and hasattr(backend, "dimension")


def check_left_out(
    *, model: object, dtype: object, revision: object, token: object, cache_dir: object, local_files_only: object
) -> None:
    """Check that nothing is said about a checkpoint where none is loaded.

    Args:
        model: What the encoder was given under this name, as all that follow.
        dtype: Left out, it is "auto".
        revision: Left out, it is None.
        token: Left out, it is None.
        cache_dir: Left out, it is None.
        local_files_only: Left out, it is False.

    Raises:
        ConfigurationError: One of them was given.
    """
    given = {
        "model": model != DEFAULT_MODEL,
        "dtype": dtype != "auto",
        "revision": revision is not None,
        "token": token is not None,
        "cache_dir": cache_dir is not None,
        "local_files_only": bool(local_files_only),
    }
    if names := [name for name, is_given in given.items() if is_given]:
        raise ConfigurationError(f"the backend is an instance, which is loaded already; leave out {', '.join(names)}")


def check_is_load(load: object, protocol: type) -> None:
    """Check that a backend that is no name and no instance can be called with a checkpoint.

    Args:
        load: What was given as `backend`.
        protocol: `Load` or `LoadText`: what it will be called with.

    Raises:
        ConfigurationError: It takes other arguments, or can't be called.
    """
    called_with = list(inspect.signature(protocol.__call__).parameters)[1:]
    try:
        inspect.signature(load).bind(None, **dict.fromkeys(called_with[1:]))  # type: ignore[arg-type]  # tried here
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"backend must be a name, a loaded backend, or called with ({', '.join(called_with)}); "
            f"{load!r} can't be: {error}"
        ) from error


def check_is_backend(backend: object, protocol: type) -> None:
    """Check that an object has all that is asked of a backend.

    Args:
        backend: What was given, or what a load function returned.
        protocol: `Backend` or `TextBackend`.

    Raises:
        ConfigurationError: It lacks something, which is named.
    """
    missing = sorted(name for name in _members(protocol) if not hasattr(backend, name))
    if missing or not callable(backend):
        raise ConfigurationError(
            f"{backend!r} is no {protocol.__name__}: it lacks {', '.join(missing or ['__call__'])}"
        )


def take_backend(
    backend: Backend, preprocess: Preprocess | Callable[[Image], Any] | None
) -> tuple[Backend, Preprocess | Callable[[Image], Any]]:
    """Return a backend that is loaded already, and the preprocess that comes with it.

    Raises:
        ConfigurationError: It is no backend, or nothing tells how images are prepared for it.
    """
    check_is_backend(backend, Backend)
    if preprocess is None:
        preprocess = getattr(backend, "preprocess", None)
        check_components(None, preprocess, None)
    if preprocess is None:
        raise ConfigurationError(
            f"how images are prepared for {type(backend).__name__} is not known; pass preprocess=, such as "
            "ClipPreprocess(...) or another encoder's"
        )
    return backend, preprocess


def load_backend(
    checkpoint: Checkpoint,
    load: Load,
    preprocess: Preprocess | Callable[[Image], Any] | None,
    *,
    exact: bool,
    dtype: str,
    device: Devices,
) -> tuple[Backend, Preprocess | Callable[[Image], Any]]:
    """Return a backend that is loaded now, and the preprocess that was given or is the checkpoint's own.

    Raises:
        ConfigurationError: It can't be loaded so, or what was loaded is no backend.
        CheckpointError: The checkpoint has no vision tower, or its weights are missing, damaged or of another model.
    """
    check_is_load(load, Load)
    if preprocess is None:
        preprocess = preprocess_of(checkpoint.preprocessor_config, exact=exact)
    if isinstance(preprocess, Preprocess):
        pixel_format = preprocess.pixel_format
    else:  # a plain function, whose pixels are normalized already
        pixel_format = PixelFormat(size=checkpoint.vision.image_size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    backend = load(checkpoint, pixel_format=pixel_format, dtype=dtype, device=device)
    check_is_backend(backend, Backend)
    return backend, preprocess


def check_backend_fits(preprocess: object, backend: Backend, pooling: Pooling) -> None:
    """Check that the parts of an encoder fit each other.

    Raises:
        ConfigurationError: Two of them don't fit.
    """
    if isinstance(preprocess, Preprocess):
        made, taken = (_in_words(size) for size in (preprocess.pixel_format.size, backend.image_size))
        if made != taken:
            raise ConfigurationError(f"the preprocess makes pixels of {made}, the backend takes {taken}")
    name, reads = type(pooling).__name__, pooling.reads
    if ("pooled" if reads == "pooled" else "tokens") not in backend.outputs:
        raise ConfigurationError(
            f"{name} reads {reads!r}, the backend gives {sorted(backend.outputs)}; pass another pooling="
        )
    if reads == "prefix" and not backend.prefix_tokens:
        raise ConfigurationError(f"{name} needs a class token, and this model has none; pass another pooling=")


def shape_left_alone(loader: ImageLoader, preprocess: object) -> tuple[int, ...] | None:
    """Return the shape of the uint8 arrays that neither the loader nor the preprocess would change, or None.

    Args:
        loader: Of any class; what another one than `ImageLoader` does is not known.
        preprocess: Of any class; those known here do to an image what its size says, so that one image shows it.
    """
    if type(loader) is not ImageLoader or type(preprocess) not in (ClipPreprocess, OpenClipPreprocess):
        return None
    assert isinstance(preprocess, (ClipPreprocess, OpenClipPreprocess))
    assert preprocess.pixel_format.size is not None
    noise = np.random.default_rng(0).integers(0, 256, (*preprocess.pixel_format.size, 3), dtype=np.uint8)
    try:
        is_left_alone = np.array_equal(preprocess(loader(noise)), noise)
    except ImageError:
        return None
    return noise.shape if is_left_alone else None


def _in_words(size: tuple[int, int] | None) -> str:
    return "any size" if size is None else f"size {tuple(size)}"


def _members(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if name == "__call__" or not name.startswith("_")}
