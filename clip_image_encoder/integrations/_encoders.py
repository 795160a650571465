"""What the integrations share: their encoders, with settings that travel, and the column that the images are in."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any, Literal

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageError, ImageInput, ImageLoader, TextEncoder
from clip_image_encoder.arguments import check_batch_size, check_count
from clip_image_encoder.arrays import Vectors
from clip_image_encoder.batches import join
from clip_image_encoder.checkpoint import DEFAULT_MODEL

__all__ = ["Encoders", "image_column", "image_in"]

# Names of columns with images, the first of which is taken: the content of files comes before their paths.
_COLUMNS = ("bytes", "image", "path")
# Fields that hold for each call, and not for the encoders that are loaded.
_OF_A_CALL = ("batch_size", "normalize")


@dataclass(frozen=True, kw_only=True)
class Encoders:
    """Image encoder and text encoder of one checkpoint, each loaded when it is first needed.

    Every setting is a value that pickles, and all but the loader and the token can be stored as JSON.

    Attributes:
        model: A hub id, a folder, or "tiny-shapes"; or an `ImageEncoder`, which has the settings of its own.
        text_encoder: Encoder of the texts; None means the one of `model`, with the same settings.
        revision: Branch, tag or commit on the hub; None means the newest commit.
        backend: Name of the runtime for images and texts; None means the runtime that an exported folder was made for,
            and torch otherwise.
        device: Name of the device that both encoders run on; None means the best available.
        dtype: Type that both encoders compute in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        loader: Loader that reads the images; None means `ImageLoader()`.
        num_workers: Number of threads that load images; None means one for each core, 0 loads on the caller's thread.
        load_in: "threads", the default, decodes files on loading threads; "processes" decodes them in Python processes.
        token: Access token of the hub; None means the stored one, if any. It is not shown in the repr.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on this machine are used, without a request to the network.
        batch_size: Number of images or texts in a forward pass; None means 128 on CUDA devices and 32 on others.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.

    Raises:
        ConfigurationError: A number is wrong, or an `ImageEncoder` is given with settings of another one.
    """

    model: str | os.PathLike[str] | ImageEncoder = DEFAULT_MODEL
    text_encoder: TextEncoder | None = None
    revision: str | None = None
    backend: str | None = None
    device: str | None = None
    dtype: str = "auto"
    loader: ImageLoader | None = None
    num_workers: int | None = None
    load_in: Literal["threads", "processes"] = "threads"
    token: str | bool | None = field(default=None, repr=False)
    cache_dir: str | os.PathLike[str] | None = None
    local_files_only: bool = False
    batch_size: int | None = None
    normalize: bool = True

    def __post_init__(self) -> None:
        # Python's int, not numpy's, so that databases can store it.
        object.__setattr__(self, "batch_size", check_batch_size(self.batch_size))
        if self.num_workers is not None:
            object.__setattr__(self, "num_workers", check_count(self.num_workers, name="num_workers", least=0))
        if not isinstance(self.model, (str, os.PathLike)):
            settings = [each for each in fields(self) if each.name not in ("model", "text_encoder", *_OF_A_CALL)]
            given = [each.name for each in settings if getattr(self, each.name) != each.default]
            if given:
                raise ConfigurationError(f"an ImageEncoder has settings of its own; leave out {', '.join(given)}")

    def encode_images(self, images: Iterable[ImageInput], *, on_error: Literal["raise", "nan"] = "raise") -> Vectors:
        """Return the vectors `(n, d)` float32 of images, in their order."""
        return self.images.encode(
            images, self.batch_size, normalize=self.normalize, on_error=on_error, show_progress=False
        )

    def encode_texts(self, texts: Iterable[str]) -> Vectors:
        """Return the vectors `(n, d)` float32 of texts, in their order."""
        return self.texts.encode(list(texts), self.batch_size, normalize=self.normalize)

    def embed_images(self, images: Iterable[ImageInput]) -> tuple[Vectors, list[ImageError | None]]:
        """Return the vectors `(n, d)` float32 of images, NaN where one failed, and the error or None of each."""
        batches = list(self.images.stream(images, self.batch_size, normalize=self.normalize, show_progress=False))
        return join(batches, dimension=self.dimension)

    def image_outcomes(self, images: Iterable[ImageInput]) -> Iterator[Vectors | ImageError]:
        """Yield the vector `(d,)` float32 or the error of each image, in their order."""
        for batch in self.images.stream(images, self.batch_size, normalize=self.normalize, show_progress=False):
            for _, outcome in batch.outcomes():
                yield outcome

    @property
    def dimension(self) -> int:
        """Length of a vector: the number of its float32 values."""
        return self.images.dimension

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights and the settings: encoders with one fingerprint give equal vectors of images."""
        fingerprint = self.images.fingerprint
        return fingerprint if self.normalize else f"{fingerprint}, not normalized"

    @cached_property
    def images(self) -> ImageEncoder:
        """Encoder of the images."""
        if not isinstance(self.model, (str, os.PathLike)):
            return self.model
        return ImageEncoder(
            self.model,
            revision=self.revision,
            backend=self.backend,
            device=self.device,
            dtype=self.dtype,
            loader=self.loader,
            num_workers=self.num_workers,
            load_in=self.load_in,
            token=self.token,
            cache_dir=self.cache_dir,
            local_files_only=self.local_files_only,
        )

    @cached_property
    def texts(self) -> TextEncoder:
        """Encoder of the texts."""
        if self.text_encoder is not None:
            return self.text_encoder
        if not isinstance(self.model, (str, os.PathLike)):
            raise ConfigurationError(
                "an ImageEncoder encodes no texts; pass text_encoder=, the TextEncoder of its checkpoint"
            )
        return TextEncoder(
            self.model,
            revision=self.revision,
            backend=self.backend,
            device=self.device,
            dtype=self.dtype,
            token=self.token,
            cache_dir=self.cache_dir,
            local_files_only=self.local_files_only,
        )


def image_column(names: Sequence[str], column: str | None) -> str:
    """Return the name of the column with images: the given one, or the first of `bytes`, `image` and `path`.

    Args:
        names: Names of all columns.
        column: Name that the user has given; None means the first that there is.

    Raises:
        ConfigurationError: There is no such column.
    """
    found = next((name for name in ((column,) if column else _COLUMNS) if name in names), None)
    if found is None:
        wanted = repr(column) if column else "'bytes', 'image' or 'path'"
        raise ConfigurationError(f"there is no column {wanted}; pass column=, one of {list(names)}")
    return found


def image_in(cell: Any) -> Any:
    """Return the image in a cell of a column: the content or the path, where Hugging Face datasets hold both."""
    if isinstance(cell, Mapping) and {"bytes", "path"} <= cell.keys():
        return cell["path"] if cell["bytes"] is None else cell["bytes"]
    return cell
