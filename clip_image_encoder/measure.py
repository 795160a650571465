"""Which backend and dtype encode images fastest on this machine, and how far their vectors are from float32."""

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
"""Counts up when the same is measured in another way."""

_PACKAGES = ("clip-image-encoder", "torch", "transformers", "onnx", "onnxruntime", "openvino", "nncf")
"""With another version of one of them, speeds, vectors and what is missing may be others."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A backend in a dtype, on this machine.

    Attributes:
        backend: Name of the backend, as `ImageEncoder` takes it.
        dtype: Name of the dtype, as `ImageEncoder` takes it.
        times_faster: Ratio of the images that pass the model in a second to those of torch in float32; loading images
            is not a part of it.
        mean: Mean cosine of its vectors to those of torch in float32.
        worst: The least of these cosines.
        same_nearest: Share of images, 0 to 1, whose nearest other image is the same as in float32.
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
    """A backend in a dtype that does not run here.

    Attributes:
        backend: Name of the backend.
        dtype: Name of the dtype.
        reason: What is missing, as the error says it.
    """

    backend: str
    dtype: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was measured of a checkpoint.

    Attributes:
        measured: What runs here, the fastest first.
        left_out: What does not run here.
    """

    measured: tuple[Measured, ...]
    left_out: tuple[LeftOut, ...]

    def fastest(self, *, least_cosine: float = 0.99) -> Measured:
        """Return the fastest of those whose vectors are near to those of float32.

        Args:
            least_cosine: What the mean cosine has to reach; torch in float32 has 1, and is what more than 1 gives.

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
    """Measure the image tower of a checkpoint on the CPU, in each backend and dtype in turn with torch in float32.

    The first time it takes some minutes: graphs are made, fitted and kept, as when an encoder is made of them. What was
    measured is kept beside them, for this processor and these versions of the packages, and returned the next time.

    Args:
        model: A hub id, a folder, or "tiny-shapes"; no exported folder, which runs in one dtype of one backend.
        images: Images whose vectors are compared, some dozens of those that the model will see; None draws 64.
        batch_size: Number of images that pass the model at a time.
        again: Whether it is measured anew, though it was measured before, perhaps on a busy machine.
        revision: Branch, tag or commit on the hub; None is the newest.
        token: Token of the hub, for private and gated repositories.
        cache_dir: Folder where downloaded files are kept instead of the hub's own cache.
        local_files_only: Whether the network is never asked.

    Raises:
        ConfigurationError: The model is an exported folder, there are no images, an argument is wrong, or the cache
            can't be written to.
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
        raise ConfigurationError(f"{model} is an exported folder, which runs in one dtype of one backend")
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
    """Return what the checkpoint's preprocess makes of images, of one size.

    Raises:
        ConfigurationError: There are none, or the model keeps the aspect ratio of each.
    """
    loader = ImageLoader()
    preprocess = preprocess_of(checkpoint.preprocessor_config, exact=loader.exact)
    size = preprocess.pixel_format.size
    given: list[ImageInput] = [draw(scene) for scene in random_scenes(_DRAWN)] if images is None else list(images)
    if not given or size is None:
        raise ConfigurationError("measuring needs images, and a model that takes all of them at one size")
    return np.stack([np.asarray(preprocess(loader(image, model_size=size))) for image in given])


def _machine() -> str:
    """Return what decides how fast this machine is: its processor, as its system calls it, and the cores to be used."""
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
    """Return the ratio of the median times of two works that are done in turn, after each was done once."""
    pairs = [(_seconds(exact), _seconds(other)) for _ in range(_ROUNDS + 1)][1:]
    return round(statistics.median(pair[0] for pair in pairs) / statistics.median(pair[1] for pair in pairs), 2)


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
