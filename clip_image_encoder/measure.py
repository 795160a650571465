"""Measure the backends and dtypes on this machine: how fast they encode images, and how near they are to float32."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from itertools import product
from pathlib import Path

import numpy as np

from clip_image_encoder._arguments import available_cores, check_count, check_number
from clip_image_encoder.arrays import Pixels, Vectors
from clip_image_encoder.backends import available_backends
from clip_image_encoder.backends._graph_store import find_or_make, forget
from clip_image_encoder.backends._quality import compared
from clip_image_encoder.checkpoint import Checkpoint, open_checkpoint
from clip_image_encoder.encoder import ImageEncoder
from clip_image_encoder.errors import BackendError, ConfigurationError
from clip_image_encoder.images import ImageInput, ImageLoader
from clip_image_encoder.preprocess import preprocess_of
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes

__all__ = ["LeftOut", "Measured", "Measurement", "measure"]

_DTYPES = ("float32", "bfloat16", "int8")
_ROUNDS = 5
_DRAWN = 64

_FILE = "measured.json"

_SCHEME = 1
"""Version of the way in which is measured; raise it when that changes, and stored measurements are not used again."""

_PACKAGES = ("clip-image-encoder", "torch", "transformers", "onnx", "onnxruntime", "openvino", "nncf")
"""Packages that decide speeds and vectors: after a new version of one, the checkpoint is measured again."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The speed and the quality of a backend in a dtype on this machine.

    Attributes:
        backend: Name of the backend, as `ImageEncoder` takes it.
        dtype: Name of the dtype, as `ImageEncoder` takes it.
        times_faster: Ratio of the images that pass the model in a second to those of torch in float32, without the
            time of loading images.
        mean: Mean cosine between the vectors of this backend and of torch in float32, -1 to 1.
        worst: Smallest cosine between the vectors of this backend and of torch in float32, -1 to 1.
        same_nearest: Share of images, 0 to 1, whose nearest other image is the same as with torch in float32.
    """

    backend: str
    dtype: str
    times_faster: float
    mean: float
    worst: float
    same_nearest: float


_EXACT = Measured(backend="torch", dtype="float32", times_faster=1.0, mean=1.0, worst=1.0, same_nearest=1.0)


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """A backend in a dtype that could not be loaded on this machine.

    Attributes:
        backend: Name of the backend, as `ImageEncoder` takes it.
        dtype: Name of the dtype, as `ImageEncoder` takes it.
        reason: Message of the error, which says what is missing.
    """

    backend: str
    dtype: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The measurements of a checkpoint on this machine.

    Attributes:
        measured: Backends and dtypes that run here, the fastest first.
        left_out: Backends and dtypes that could not be loaded.
    """

    measured: tuple[Measured, ...]
    left_out: tuple[LeftOut, ...]

    def fastest(self, *, least_cosine: float = 0.99) -> Measured:
        """Return the fastest backend and dtype whose vectors are near to those of torch in float32.

        Args:
            least_cosine: Smallest allowed mean cosine; 1 or more returns torch in float32 or what equals it.

        Raises:
            ConfigurationError: `least_cosine` is no finite number.
        """
        least_cosine = check_number(least_cosine, name="least_cosine", kind="a finite number")
        return next(each for each in self.measured if each.mean >= min(1.0, least_cosine))


def measure(
    model: str | os.PathLike[str],
    *,
    images: Iterable[ImageInput] | None = None,
    batch_size: int = 32,
    again: bool = False,
    revision: str | None = None,
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
) -> Measurement:
    """Measure a checkpoint's vision tower on the CPU in each backend and dtype, compared with torch in float32.

    The first call takes some minutes, since graphs are exported and fitted to int8; they are stored below HF_HOME. The
    measurement is stored beside them, and a later call with the same processor and package versions returns it.

    Args:
        model: Hub id, folder, or "tiny-shapes"; not an exported folder, which runs in one dtype of one backend.
        images: Images whose vectors are compared, some dozens like those that the model will see; None means 64
            drawings.
        batch_size: Number of images that pass the model at a time.
        again: Whether a stored measurement is replaced by a new one, for example because the machine was busy then.
        revision: Branch, tag or commit on the hub; None means the newest commit.
        token: Access token of the hub, for private and gated repositories; None means the stored one.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files that are in the cache already are used, without network access.

    Raises:
        ConfigurationError: The model is an exported folder, there are no images, the model keeps each image's aspect
            ratio, an argument is wrong, or the cache can't be written to.
        CheckpointError: The checkpoint is missing, unreachable, damaged or unsafe.
        ImageError: One of the images can't be read.

    Example:
        >>> from clip_image_encoder import ImageEncoder
        >>> from clip_image_encoder.measure import measure
        >>> def fastest_encoder(model):
        ...     best = measure(model).fastest()
        ...     return ImageEncoder(model, backend=best.backend, dtype=best.dtype, device="cpu")
    """
    batch_size = check_count(batch_size, name="batch_size")
    checkpoint = open_checkpoint(
        model, revision=revision, token=token, cache_dir=cache_dir, local_files_only=local_files_only
    )
    if checkpoint.runtime:
        raise ConfigurationError(
            f"{model} is an exported folder, which runs in one dtype of one backend; measure the checkpoint that it "
            "was exported from"
        )
    load = partial(
        ImageEncoder,
        model,
        device="cpu",
        revision=revision,
        token=token,
        cache_dir=cache_dir,
        local_files_only=local_files_only,
    )
    pixels = _pixels(checkpoint, images)
    key = f"measured {_SCHEME} {_machine()} {_versions()} {checkpoint.stamp} {_digest(pixels)} {batch_size}"
    if again:
        forget(key)
    kept = find_or_make(key, lambda folder: _write(_measured(load, pixels, batch_size), folder))
    return _read(kept)


def _measured(load: Callable[..., ImageEncoder], pixels: Pixels, batch_size: int) -> Measurement:
    exact = load()
    batch = np.resize(pixels, (batch_size, *pixels.shape[1:]))
    measured, left_out = [_EXACT], []
    for backend, dtype in product(available_backends(), _DTYPES):
        if (backend, dtype) == (_EXACT.backend, _EXACT.dtype):
            continue
        try:
            other = load(backend=backend, dtype=dtype)
        except (ConfigurationError, BackendError) as error:
            left_out.append(LeftOut(backend=backend, dtype=dtype, reason=str(error)))
        else:
            quality = compared(_vectors(exact, pixels), _vectors(other, pixels))
            times_faster = _times_faster(partial(_vectors, exact, batch), partial(_vectors, other, batch))
            measured.append(Measured(backend=backend, dtype=dtype, times_faster=times_faster, **asdict(quality)))
    measured.sort(key=lambda each: each.times_faster, reverse=True)
    return Measurement(measured=tuple(measured), left_out=tuple(left_out))


def _write(found: Measurement, folder: Path) -> None:
    (folder / _FILE).write_text(json.dumps(asdict(found)))


def _read(folder: Path) -> Measurement:
    found = json.loads((folder / _FILE).read_text())
    return Measurement(
        measured=tuple(Measured(**each) for each in found["measured"]),
        left_out=tuple(LeftOut(**each) for each in found["left_out"]),
    )


def _pixels(checkpoint: Checkpoint, images: Iterable[ImageInput] | None) -> Pixels:
    """Return images after the checkpoint's preprocess, as one batch.

    Raises:
        ConfigurationError: There are no images, or the model keeps each image's aspect ratio.
    """
    loader = ImageLoader()
    preprocess = preprocess_of(checkpoint.preprocessor_config, exact=loader.exact)
    size = preprocess.pixel_format.size
    given: list[ImageInput] = [draw(scene) for scene in random_scenes(_DRAWN)] if images is None else list(images)
    if not given:
        raise ConfigurationError("measuring needs images, and images= has none")
    if size is None:
        raise ConfigurationError(
            f"measuring needs a model that takes all images at one size; {checkpoint.name} keeps their aspect ratio"
        )
    return np.stack([np.asarray(preprocess(loader(image, model_size=size))) for image in given])


def _machine() -> str:
    """Return a description of this machine's speed: system, processor, its instructions, and the usable cores."""
    try:
        with Path("/proc/cpuinfo").open() as lines:
            said = sorted({line.strip() for line in lines if line.startswith(("model name", "flags", "Features"))})
    except OSError:  # not Linux
        said = []
    return f"{platform.system()} {platform.machine()} {platform.processor()} {said} {available_cores()}"


def _versions() -> dict[str, str | None]:
    return {name: _version(name) for name in _PACKAGES} | dict.fromkeys(available_backends())


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _digest(pixels: Pixels) -> str:
    return hashlib.sha256(f"{pixels.dtype} {pixels.shape}".encode() + pixels.tobytes()).hexdigest()


def _vectors(encoder: ImageEncoder, pixels: Pixels) -> Vectors:
    return encoder.pooling(encoder.backend(pixels, output="pooled", device="cpu"))


def _times_faster(exact: Callable[[], object], other: Callable[[], object]) -> float:
    """Return the ratio of the median times of two functions, called in turn; the first call of each isn't counted."""
    pairs = [(_seconds(exact), _seconds(other)) for _ in range(_ROUNDS + 1)][1:]
    return round(statistics.median(pair[0] for pair in pairs) / statistics.median(pair[1] for pair in pairs), 2)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
