"""ImageEncoder: images in, vectors out; it calls a loader, a preprocess, a backend and a pooling in this order."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any, Literal, cast

from PIL.Image import Image

from clip_image_encoder._arguments import check_load_in, check_num_workers
from clip_image_encoder._defaults import DEFAULT_MODEL
from clip_image_encoder._devices import Devices, resolve_devices
from clip_image_encoder._fingerprint import fingerprint
from clip_image_encoder._fit import (
    check_backend_fits,
    check_components,
    check_left_out,
    is_loaded,
    load_backend,
    take_backend,
)
from clip_image_encoder._left_alone import LeftAlone
from clip_image_encoder._prepared import LoadedImage, are_prepared
from clip_image_encoder._processes import LoadingProcesses
from clip_image_encoder._progress import progress
from clip_image_encoder._to_pixels import ToPixels
from clip_image_encoder.arrays import Pixels, Vectors
from clip_image_encoder.backends import Load, load_of
from clip_image_encoder.batches import EncodedBatch, gather
from clip_image_encoder.checkpoint import Checkpoint, open_checkpoint
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.images import ImageInput, ImageLoader
from clip_image_encoder.images.several import Inputs, inputs_of
from clip_image_encoder.pipeline import run
from clip_image_encoder.pooling import PretrainedPooling
from clip_image_encoder.protocols import Backend, Pooling, Preprocess

__all__ = ["ImageEncoder"]

_logger = logging.getLogger(__name__)


class ImageEncoder:
    """Turns images into vectors that can be compared with each other, and with texts of the same checkpoint.

    An encoder does not change after it is made. Several threads may call it. It pickles as its
    configuration, and the process that unpickles it loads the weights again.

    Args:
        model: A hub id, a folder, or "tiny-shapes" (bundled, needs no network), in the format of transformers,
            open_clip or sentence-transformers. "hf-hub:" before an id and "local-dir:" before a folder select
            open_clip's format where there are several.
        backend: Name of the runtime, "torch", "onnx" or "openvino"; None means the runtime that an exported folder
            was made for, and torch otherwise. Also a callable that loads a backend with other settings, such as
            `partial(TorchBackend, compile=True)`, or a `Backend` instance, which needs its preprocess: as
            `preprocess=`, or as an attribute of that name.
        preprocess: A `Preprocess`, or any callable from a PIL image to normalized float32 `(3, H, W)`, such as
            open_clip's transform; None means the checkpoint's own, which resizes exactly if the loader is exact.
        pooling: A `Pooling`; None means the pooling that the checkpoint was trained with.
        loader: An `ImageLoader` with other limits, background, channel order or exactness; None means
            `ImageLoader()`.
        device: Name of a device, or a list of names to split the work over; None means cuda, mps or cpu, the
            first of these that is available.
        dtype: Type that the model computes in: "float32", "float16", "bfloat16" or another of the backend's;
            "auto" means float16 if `device` is a cuda device, and float32 otherwise. The type stays the same for
            the devices of later calls.
        num_workers: Number of threads that load images ahead of the model; None means one for each core that the
            process may use, by its affinity and its container's quota; 0 loads on the caller's thread. With at
            most one thread for each core, loading pauses while a model computes on the CPU. More threads, for
            images that come over a network, go on meanwhile.
        load_in: "threads", the default, decodes files on the threads of `num_workers`; "processes" in a Python
            process for each of them, which feeds a GPU faster on a machine with more than eight cores. The first
            process is started at once, others when they are needed. They end with the encoder, take 60 MB each, and
            don't run the application's script.
        revision: Branch, tag or commit on the hub; None means the newest commit.
        token: Access token of the hub, for private and gated repositories; None means the stored one, if any.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.

    Raises:
        ConfigurationError: An argument is wrong, or the components don't fit each other.
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
        load_in: Literal["threads", "processes"] = "threads",
        revision: str | None = None,
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
    ) -> None:
        check_components(loader, preprocess, pooling)
        self._loader = ImageLoader() if loader is None else loader
        self._pooling: Pooling = PretrainedPooling() if pooling is None else pooling
        self._num_workers = check_num_workers(num_workers)
        check_load_in(load_in, num_workers=self._num_workers)
        self._device = device
        self._checkpoint: Checkpoint | None = None
        self._model: str | None = None
        start = time.perf_counter()
        if is_loaded(model):
            raise ConfigurationError("model is a loaded backend; pass it as backend=, with its preprocess=")
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
            self._checkpoint = checkpoint
            # The name alone of a folder, so that what is stored with vectors holds no path of this machine.
            self._model = Path(model).name if Path(model).is_dir() else os.fspath(model)
            load = load_of(cast("str | Load | None", backend), checkpoint)
            self._backend, self._preprocess = load_backend(
                checkpoint, load, preprocess, exact=self._loader.exact, dtype=dtype, device=device
            )
        check_backend_fits(self._preprocess, self._backend, self._pooling)
        self._left_alone = LeftAlone.by(self._loader, self._preprocess)
        to_pixels = ToPixels(
            loader=self._loader,
            preprocess=self._preprocess,
            size=self._backend.image_size,
            left_alone=self._left_alone,
        )
        # At least two, since a MicroBatcher has two threads at least: a slow image must not hold up the others.
        self._to_pixels: Callable[[object], Pixels] = (
            LoadingProcesses(to_pixels, max(2, self._num_workers)) if load_in == "processes" else to_pixels
        )
        devices = resolve_devices(device, self._backend.devices)
        _logger.info("%r on %s, loaded in %.1f s", self._backend, ", ".join(devices), time.perf_counter() - start)

    @property
    def loader(self) -> ImageLoader:
        """Component that turns an input into an upright RGB image."""
        return self._loader

    @property
    def preprocess(self) -> Preprocess | Callable[[Image], Any]:
        """Component that turns an upright RGB image into pixels at the model's size."""
        return self._preprocess

    @property
    def backend(self) -> Backend:
        """Component that turns a batch of pixels into features: it runs the vision tower."""
        return self._backend

    @property
    def pooling(self) -> Pooling:
        """Component that turns the features of an image into one vector."""
        return self._pooling

    @property
    def num_workers(self) -> int:
        """Number of threads that load images ahead of the model; 0 means that the caller's thread loads them."""
        return self._num_workers

    @property
    def dimension(self) -> int:
        """Length of a vector: the number of its float32 values."""
        return self._backend.dimension

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights and the settings of all components: encoders with one fingerprint give equal vectors.

        The first access reads the weight files whole.

        Raises:
            CheckpointError: The checkpoint's files have changed since they were loaded.
            ConfigurationError: A component of your own can't be fingerprinted.
        """
        return fingerprint(self._loader, self._preprocess, self._pooling, self._backend)

    def __deepcopy__(self, memo: object) -> ImageEncoder:
        # An encoder does not change, and a copy would load the weights again: scikit-learn's clone() makes them.
        return self

    @property
    def model(self) -> str | None:
        """Hub id, "tiny-shapes", or name of the folder without its path; None for a backend that is an instance."""
        return self._model

    @property
    def space(self) -> str | None:
        """SHA-256 of the checkpoint's config and weights: texts can be compared whose encoder has the same `space`.

        It is the same for every backend, dtype and device, and for exported folders of the checkpoint. None means that
        no text is known to be comparable: the backend is an instance, or the pooling is not the checkpoint's own.

        Raises:
            CheckpointError: The checkpoint's files have changed since they were loaded.
        """
        if self._checkpoint is None or not isinstance(self._pooling, PretrainedPooling):
            return None
        return self._checkpoint.space

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
                3 axes), or any iterable of images (a list, a generator, an array of 4 axes, a column
                of a dataset).
            batch_size: Number of images in one forward pass; None means 128 on CUDA devices, and 32 on others or
                where both kinds are used.
            device: Name of a device, or a list of names, for this call only; None means the constructor's.
            normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.
            on_error: "raise" stops at the first image that can't be read; "nan" gives it a row of NaN, encodes
                all others and lists the failures in one warning.
            show_progress: Whether a progress bar is shown; None shows one for long work in interactive sessions.

        Returns:
            float32, C-contiguous: `(d,)` for one image; `(n, d)` for n images, in their order; `(0, d)` for an
            empty iterable.

        Raises:
            ImageError: An image can't be read; the message names its index and source.
            ConfigurationError: An argument is wrong, or `images` is neither an image nor an iterable.
            BackendError: The model or its device failed.
            ContractError: A component of your own broke its protocol.
        """
        inputs = inputs_of(images)
        # Pixels are not copied: their caller waits for the vectors, and writes to them afterwards at the earliest.
        load = None if self._left_alone.has_all(inputs.images) else self._pixels_of
        batches = self._encode(inputs, load, batch_size, device, normalize, on_error, show_progress)
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

        An image that can't be read does not stop the stream: its row is NaN and its error is in the batch's
        `failures`. If `images` raises, the batches before come first, then its error. Threads end
        with the generator, except for one whose read does not end within a second.

        Inputs are drawn ahead: 3 n - 1 of them before the first batch of n is yielded. A CUDA device adds n. With
        several devices, each adds 4 n, and a CUDA device 8 n; the next batch goes to the first that is free.
        `num_workers=0` draws 2 n - 1 fewer: none ahead on a CPU, which suits a camera with a `batch_size` of 1.

        Args:
            images: One image or an iterable of images, as in `encode`; the iterable may be endless.
            batch_size: Number of images in a batch; None means 128 on CUDA devices, and 32 on others or where both
                kinds are used.
            device: Name of a device, or a list of names, for this call only; None means the constructor's.
            normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.
            show_progress: Whether a progress bar is shown; None shows one for long work in interactive sessions.

        Yields:
            EncodedBatch: `start`, `embeddings` `(m, d)` float32 and `failures`.

        Raises:
            ConfigurationError: An argument is wrong; raised at the call, not at the first batch.
            BackendError: The model or its device failed.
            ContractError: A component of your own broke its protocol.

        Example:
            >>> from PIL import Image
            >>> from clip_image_encoder import ImageEncoder
            >>> images = (Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in range(5))
            >>> [batch.embeddings.shape[0] for batch in ImageEncoder("tiny-shapes").stream(images, batch_size=2)]
            [2, 2, 1]
        """
        return self._encode(inputs_of(images), self._pixels_of, batch_size, device, normalize, "nan", show_progress)

    def _encode(
        self,
        inputs: Inputs,
        load: Callable[[object], Pixels] | None,
        batch_size: int | None,
        device: Devices,
        normalize: bool,
        on_error: Literal["raise", "nan"],
        show_progress: bool | None,
    ) -> Generator[EncodedBatch]:
        images = inputs.images
        # Threads take longer than loading a single image, which is what a server sends, or than copying arrays.
        takes_no_time = inputs.total == 1 or load is None or are_prepared(images) or self._left_alone.has_all(images)
        batches = run(
            images,
            load,
            backend=self._backend,
            pooling=self._pooling,
            device=self._device if device is None else device,
            batch_size=batch_size,
            num_workers=0 if takes_no_time else self._num_workers,
            normalize=normalize,
            on_error=on_error,
        )
        return progress(batches, total=inputs.total, show=show_progress)

    def _prepare(self, item: object, /) -> LoadedImage:
        """Load an image on the caller's thread; `encode` and `stream` take the result in the image's place."""
        return LoadedImage(self._to_pixels(item))

    def _pixels_of(self, item: object) -> Pixels:
        return item.pixels if isinstance(item, LoadedImage) else self._to_pixels(item)
