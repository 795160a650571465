"""ImageEncoder: composes loader, preprocess, backend and pooling into one call."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Iterable
from typing import Any, Literal, cast

import numpy as np
from PIL.Image import Image

from clip_image_encoder._arguments import check_num_workers
from clip_image_encoder._computing import check_pixels
from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._fingerprint import fingerprint
from clip_image_encoder._fit import (
    check_backend_fits,
    check_components,
    check_left_out,
    is_loaded,
    load_backend,
    shape_left_alone,
    take_backend,
)
from clip_image_encoder._prepared import LoadedImage, are_prepared
from clip_image_encoder._progress import progress
from clip_image_encoder.arrays import Pixels, Vectors
from clip_image_encoder.backends import Load, load_of
from clip_image_encoder.batches import EncodedBatch, gather
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.errors import ConfigurationError, ContractError, ImageError
from clip_image_encoder.images import ImageInput, ImageLoader
from clip_image_encoder.images.several import Inputs, inputs_of
from clip_image_encoder.pipeline import run
from clip_image_encoder.pooling import PretrainedPooling
from clip_image_encoder.protocols import Backend, Pooling, Preprocess

__all__ = ["ImageEncoder"]

_logger = logging.getLogger(__name__)


class ImageEncoder:
    """Turns images into vectors of CLIP's space, where texts of the same checkpoint live too.

    An encoder doesn't change once it is made: it may be called from several threads, and pickles
    as its configuration, so that the other side loads the weights for itself.

    Args:
        model: A hub id, a folder, or "tiny-shapes" (bundled, needs no network), in the format of transformers,
            open_clip or sentence-transformers. "hf-hub:" before an id and "local-dir:" before a folder ask for
            open_clip's format where there are several.
        backend: Name of the runtime, a file of `clip_image_encoder.backends`; None is the runtime that an exported
            folder was made for, and torch for all others. Or what loads one with settings of its own, such as
            `partial(TorchBackend, compile=True)`. Or a `Backend` instance, which comes with its preprocess: as
            `preprocess=`, or as an attribute of that name.
        preprocess: A `Preprocess`, or any callable from a PIL image to normalized float32
            `(3, H, W)`, such as open_clip's transform; None is what the checkpoint was trained with, which
            resizes as exactly as the loader decodes.
        pooling: A `Pooling`; None is what the checkpoint was trained with.
        loader: An `ImageLoader` with other limits, background or channel order, or an exact one.
        device: Name of a device, a list of them to split the work, or None for cuda, mps or cpu,
            whichever is there first.
        dtype: "float32", "float16", "bfloat16" and what else the backend has; "auto" is float16 if
            `device` is a cuda device, and float32 if it is another; it holds for all devices that
            are named later.
        num_workers: Number of threads that load images ahead of the model; None is one for each core that the
            process may use, by its affinity and its container's quota, 0 loads on the caller's thread.
            Up to as many as there are cores, they take turns with a model on the CPU; more are for
            images that come over a network, and load beside it.
        revision: Branch, tag or commit on the hub.
        token: Token of the hub, for private and gated repositories.
        cache_dir: Folder where downloaded files are kept instead of the hub's own cache.
        local_files_only: Whether the network is never asked.

    Raises:
        ConfigurationError: Something can't be had, or the components don't fit each other.
        MissingExtraError: The backend's package is not installed.
        CheckpointError: The checkpoint is missing, unreachable, damaged or unsafe.

    Example:
        >>> from PIL import Image
        >>> from clip_image_encoder import ImageEncoder
        >>> encoder = ImageEncoder("tiny-shapes")
        >>> vectors = encoder.encode([Image.new("RGB", (64, 64), "red"), Image.new("RGB", (64, 64), "blue")])
        >>> vectors.shape == (2, encoder.dimension)
        True
    """

    def __init__(
        self,
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        backend: str | Load | Backend | None = None,
        preprocess: Preprocess | Callable[[Image], Any] | None = None,
        pooling: Pooling | None = None,
        loader: ImageLoader | None = None,
        device: Devices = None,
        dtype: str = "auto",
        num_workers: int | None = None,
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> None:
        check_components(loader, preprocess, pooling)
        self._loader = ImageLoader() if loader is None else loader
        self._pooling: Pooling = PretrainedPooling() if pooling is None else pooling
        self._num_workers = check_num_workers(num_workers)
        self._device = device
        start = time.perf_counter()
        if is_loaded(model):
            raise ConfigurationError("model is a backend; pass it as backend=, with its preprocess=")
        if is_loaded(backend):
            check_left_out(
                model=model,
                dtype=dtype,
                revision=revision,
                token=token,
                cache_dir=cache_dir,
                local_files_only=local_files_only,
            )
            self._backend, self._preprocess = take_backend(cast("Backend", backend), preprocess)
        else:
            checkpoint = open_checkpoint(
                model, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
            )
            load = load_of(cast("str | Load | None", backend), checkpoint)
            self._backend, self._preprocess = load_backend(
                checkpoint, load, preprocess, exact=self._loader.exact, dtype=dtype, device=device
            )
        check_backend_fits(self._preprocess, self._backend, self._pooling)
        self._left_alone = shape_left_alone(self._loader, self._preprocess)
        # Asked once, and not for each image: Python compares a protocol's members one by one.
        self._has_pixel_format = isinstance(self._preprocess, Preprocess)
        devices = resolve_devices(device, self._backend.devices)
        _logger.info("%r on %s, loaded in %.1f s", self._backend, ", ".join(devices), time.perf_counter() - start)

    @property
    def loader(self) -> ImageLoader:
        """Turns an input into an upright RGB picture."""
        return self._loader

    @property
    def preprocess(self) -> Preprocess | Callable[[Image], Any]:
        """Turns an upright RGB picture into pixels at the model's size."""
        return self._preprocess

    @property
    def backend(self) -> Backend:
        """Turns a batch of pixels into features."""
        return self._backend

    @property
    def pooling(self) -> Pooling:
        """Turns features into one vector a picture."""
        return self._pooling

    @property
    def num_workers(self) -> int:
        """Number of threads that load images ahead of the model; 0 where the caller's thread loads them."""
        return self._num_workers

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self._backend.dimension

    @property
    def fingerprint(self) -> str:
        """Same string, same vectors: a SHA-256 over the weights and the settings of every component.

        The first time, the weight files are read whole.

        Raises:
            CheckpointError: The checkpoint's files are no longer those that were loaded.
            ConfigurationError: A component of yours does not say what it is.
        """
        return fingerprint(self._loader, self._preprocess, self._pooling, self._backend)

    def __repr__(self) -> str:
        parts = (self._loader, self._preprocess, self._backend, self._pooling)
        return f"ImageEncoder({', '.join(map(repr, parts))})"

    def encode(
        self,
        images: ImageInput | Iterable[ImageInput],
        batch_size: int | None = None,
        device: Devices = None,
        *,
        normalize: bool = True,
        on_error: Literal["raise", "nan"] = "raise",
        show_progress: bool | None = None,
    ) -> Vectors:
        """Encode one image or many.

        Args:
            images: One image (a path, bytes, a file object, a PIL image, an array or tensor of 2 or
                3 axes), or any iterable of them (a list, a generator, an array of 4 axes, a column
                of a dataset).
            batch_size: Number of images that pass the model at a time; None is 256 on CUDA devices, and 32 on others
                or on both kinds.
            device: Name of a device, or a list of them, for this call only; None is that of the constructor.
            normalize: Whether each vector is scaled to length 1; False gives the model's own numbers.
            on_error: "raise" stops at the first bad image; "nan" gives it a row of NaN, encodes all
                others and lists the failures in one warning.
            show_progress: Whether there is a progress bar; None shows one in interactive sessions, for long work.

        Returns:
            float32, C-contiguous: `(d,)` for one image; `(n, d)` for many, in their order, and
            `(0, d)` for none.

        Raises:
            ImageError: An image can't be read; names its index and source.
            ConfigurationError: An argument is wrong, or `images` is no image and no iterable.
            BackendError: The device failed.
            ContractError: A component of yours broke its protocol.
        """
        inputs = inputs_of(images)
        batches = self._encode(inputs, batch_size, device, normalize, on_error, show_progress)
        vectors = gather(batches, dimension=self.dimension)
        return vectors[0] if inputs.is_single else vectors

    def stream(
        self,
        images: ImageInput | Iterable[ImageInput],
        batch_size: int | None = None,
        device: Devices = None,
        *,
        normalize: bool = True,
        show_progress: bool | None = None,
    ) -> Generator[EncodedBatch]:
        """Encode any number of images in bounded memory, batch by batch, in order.

        A bad image never stops the stream: its row is NaN and its error is in the batch's
        `failures`. If `images` raises, the batches before come first, then its error. Threads end
        with the generator, but for one whose read does not end within a second.

        Inputs are drawn ahead: 3 n - 1 of them before the first batch of n comes. A CUDA device adds n. Of several
        devices, of which a free one takes the next batch, each adds 4 n, and a CUDA device 8 n. An encoder with
        `num_workers=0` draws 2 n - 1 less, on a CPU nothing ahead: what a camera wants, with a `batch_size` of 1.

        Args:
            images: One image or an iterable of them, as in `encode`; endless iterables too.
            batch_size: Number of images in a batch; None is 256 on CUDA devices, and 32 on others or on both kinds.
            device: Name of a device, or a list of them, for this call only; None is that of the constructor.
            normalize: Whether each vector is scaled to length 1.
            show_progress: Whether there is a progress bar; None shows one in interactive sessions, for long work.

        Yields:
            EncodedBatch: `start`, `embeddings` `(m, d)` float32 and `failures`.

        Raises:
            ConfigurationError: An argument is wrong; at the call, not at the first batch.
            BackendError: The device failed.
            ContractError: A component of yours broke its protocol.

        Example:
            >>> from PIL import Image
            >>> from clip_image_encoder import ImageEncoder
            >>> pictures = (Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in range(5))
            >>> [batch.embeddings.shape[0] for batch in ImageEncoder("tiny-shapes").stream(pictures, batch_size=2)]
            [2, 2, 1]
        """
        return self._encode(inputs_of(images), batch_size, device, normalize, "nan", show_progress)

    def _encode(
        self,
        inputs: Inputs,
        batch_size: int | None,
        device: Devices,
        normalize: bool,
        on_error: Literal["raise", "nan"],
        show_progress: bool | None,
    ) -> Generator[EncodedBatch]:
        batches = run(
            inputs.images,
            self._pixels_of,
            backend=self._backend,
            pooling=self._pooling,
            device=self._device if device is None else device,
            batch_size=batch_size,
            # Threads are not worth their start for a single image, which is what a server sends.
            num_workers=0 if inputs.total == 1 or are_prepared(inputs.images) else self._num_workers,
            normalize=normalize,
            on_error=on_error,
        )
        return progress(batches, total=inputs.total, show=show_progress)

    def _prepare(self, item: object, /) -> LoadedImage:
        """Load an image, to be encoded later in its place."""
        return LoadedImage(self._load(item))

    def _pixels_of(self, item: object) -> Pixels:
        return item.pixels if isinstance(item, LoadedImage) else self._load(item)

    def _load(self, item: object) -> Pixels:
        """Turn one input into pixels; runs on the loading threads."""
        if (
            isinstance(item, np.ndarray)
            and item.shape == self._left_alone
            and item.dtype == np.uint8
            and not isinstance(item, np.ma.MaskedArray)
        ):
            return np.array(item)  # a copy: the caller may fill it anew before it is encoded
        size = self._backend.image_size
        image = self._loader(item, model_size=size)
        name = getattr(self._preprocess, "__name__", type(self._preprocess).__name__)
        try:
            pixels = np.asarray(self._preprocess(image))
        except ImageError:
            raise
        except Exception as error:
            raise ContractError(f"preprocess {name} raised {type(error).__name__}: {error}") from error
        check_pixels(pixels, size, name=f"preprocess {name}")
        if pixels.dtype == np.uint8 and not self._has_pixel_format:
            raise ContractError(
                f"preprocess {name} returned uint8 and has no pixel_format, which says how these are normalized"
            )
        return pixels
