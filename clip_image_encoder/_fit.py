"""Components of an encoder: they are loaded, and checked to fit each other before the first image."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, get_args

from PIL.Image import Image

from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder._devices import Devices
from clip_image_encoder.arrays import PixelFormat
from clip_image_encoder.backends import Load
from clip_image_encoder.checkpoint import Checkpoint
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.images import ImageLoader
from clip_image_encoder.preprocess import preprocess_of
from clip_image_encoder.protocols import Backend, Pooling, Preprocess, Reads

__all__ = [
    "check_backend_fits",
    "check_components",
    "check_is_backend",
    "check_is_load",
    "check_left_out",
    "is_loaded",
    "load_backend",
    "take_backend",
]


def check_components(loader: object, preprocess: object, pooling: object) -> None:
    """Check the type of an encoder's components.

    Args:
        loader: Value passed as `loader`; None means the default.
        preprocess: Value passed as `preprocess`; None means the default.
        pooling: Value passed as `pooling`; None means the default.

    Raises:
        ConfigurationError: A value is not such a component.
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
    """Tell whether a value is an instance of a backend, complete or not, and neither a name nor a load function."""
    return not isinstance(backend, (str, type)) and hasattr(backend, "dimension")


def check_left_out(
    *, model: object, dtype: object, revision: object, token: object, cache_dir: object, local_files_only: object
) -> None:
    """Check that the arguments about a checkpoint have their defaults, if the backend is loaded already.

    Args:
        model: Value passed as `model`; the default is DEFAULT_MODEL.
        dtype: Value passed as `dtype`; the default is "auto".
        revision: Value passed as `revision`; the default is None.
        token: Value passed as `token`; the default is None.
        cache_dir: Value passed as `cache_dir`; the default is None.
        local_files_only: Value passed as `local_files_only`; the default is False.

    Raises:
        ConfigurationError: A value is not the default.
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
    """Check that a load function can be called with a checkpoint.

    Args:
        load: Value passed as `backend`, if it is neither a name nor an instance.
        protocol: `Load` or `LoadText`, whose parameters it must take.

    Raises:
        ConfigurationError: The value takes other arguments, or can't be called.
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
    """Check that an object has all members of a backend.

    Args:
        backend: Value passed as `backend`, or returned by a load function.
        protocol: `Backend` or `TextBackend`, whose members it must have.

    Raises:
        ConfigurationError: A member is missing; the message names it.
    """
    missing = sorted(name for name in _members(protocol) if not hasattr(backend, name))
    if missing or not callable(backend):
        raise ConfigurationError(
            f"{backend!r} is not a {protocol.__name__}: it lacks {', '.join(missing or ['__call__'])}"
        )


def take_backend(
    backend: Backend, preprocess: Preprocess | Callable[[Image], Any] | None
) -> tuple[Backend, Preprocess | Callable[[Image], Any]]:
    """Return a backend that is loaded already, and the preprocess for it.

    Args:
        backend: Value passed as `backend`.
        preprocess: Value passed as `preprocess`; None means the backend's attribute of that name.

    Raises:
        ConfigurationError: The value is not a backend, or there is no preprocess.
    """
    check_is_backend(backend, Backend)
    if preprocess is None:
        preprocess = getattr(backend, "preprocess", None)
        check_components(None, preprocess, None)
    if preprocess is None:
        raise ConfigurationError(
            f"{type(backend).__name__} has no preprocess; pass preprocess=, such as ClipPreprocess(...) or another "
            "encoder's"
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
    """Load a backend, and return it with the preprocess for it.

    Args:
        checkpoint: Checkpoint whose vision tower is loaded.
        load: Function that loads the backend.
        preprocess: Value passed as `preprocess`; None means the checkpoint's own.
        exact: Whether the checkpoint's own preprocess resizes exactly as Pillow does.
        dtype: Type that the model computes in, or "auto".
        device: Name or names of devices; None means the best available device.

    Raises:
        ConfigurationError: The backend has no such dtype or device, or `load` does not return a backend.
        CheckpointError: The checkpoint has no vision tower, or its weights are missing, damaged or of another model.
    """
    check_is_load(load, Load)
    if preprocess is None:
        preprocess = preprocess_of(checkpoint.preprocessor_config, exact=exact)
    if isinstance(preprocess, Preprocess):
        pixel_format = preprocess.pixel_format
    else:  # a plain function returns float32 pixels, which are normalized already: mean and std are not used
        pixel_format = PixelFormat(size=checkpoint.vision.image_size, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
    backend = load(checkpoint, pixel_format=pixel_format, dtype=dtype, device=device)
    check_is_backend(backend, Backend)
    return backend, preprocess


def check_backend_fits(preprocess: object, backend: Backend, pooling: Pooling) -> None:
    """Check that the components of an encoder fit each other.

    Args:
        preprocess: Preprocess, whose size of pixels the backend must take.
        backend: Backend, which must give the features that the pooling reads.
        pooling: Pooling of the backend's features.

    Raises:
        ConfigurationError: Two components don't fit.
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


def _in_words(size: tuple[int, int] | None) -> str:
    return "any size" if size is None else f"size {tuple(size)}"


def _members(protocol: type) -> set[str]:
    return {name for name in vars(protocol) if name == "__call__" or not name.startswith("_")}
