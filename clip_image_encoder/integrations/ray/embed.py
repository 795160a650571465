"""The class for `Dataset.map_batches`, an instance of which each actor makes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs
import ray

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.integrations._encoders import Encoders, image_column, image_in
from clip_image_encoder.parquet import embeddings_table

__all__ = ["EmbedImages"]


class EmbedImages:
    """Class for `Dataset.map_batches` that adds vectors; each actor makes an instance, which loads the weights.

    A batch is a `pyarrow.Table` with a column of images; it is returned with its own columns and those of
    `embeddings_table`. An image that can't be read is a row with its error, and does not fail the block.

    Args:
        encoder: Name of a model: a hub id, a folder that every machine has, or "tiny-shapes". Also an `ImageEncoder`,
            which travels to the actors with the settings of its own; the arguments that follow are for a name.
        revision: Branch, tag or commit on the hub; None means the newest commit.
        backend: Name of the runtime; None means the one that an exported folder was made for, and torch otherwise.
        device: Name of a device, such as "cuda"; None means the best available.
        dtype: Type that the model computes in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        loader: Loader that reads the images; None means `ImageLoader()`.
        num_workers: Number of threads that load images; None means as many as the CPUs that Ray gives to the actor,
            or one for each core if Ray gives none. Images that come over a network need more.
        load_in: "threads", the default, decodes files on loading threads; "processes" decodes them in Python processes.
        token: Access token of the hub, which travels to the actors; None means the one stored on their machines, if
            any.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on the actor's machine are used, without a request to the network.
        batch_size: Number of images in a forward pass; None means 128 on CUDA devices and 32 on others.
        normalize: Whether each vector is scaled to length 1; False returns the model's own numbers.
        column: Name of the column with images, paths or the content of image files; None means the first of `bytes`,
            `image` and `path` that there is.
        filesystem: pyarrow's file system that the paths are in; None means the disk of the actor's machine.
        without: Names of columns that are left out of the result, such as `("bytes",)`.
        fingerprint: Fingerprint that the encoder must have; None allows any encoder.

    Attributes:
        fingerprint: Fingerprint of the encoder, with a note if vectors are not normalized; tables have it in their
            metadata.

    Raises:
        ConfigurationError: An argument is wrong, or the encoder has another fingerprint; raised in the actor.

    Example:
        >>> import pyarrow as pa
        >>> from clip_image_encoder.integrations.ray import EmbedImages
        >>> embed = EmbedImages("tiny-shapes")
        >>> table = embed(pa.table({"path": ["missing.jpg"], "label": [7]}))
        >>> table.column_names, table["status"][0].as_py()
        (['path', 'label', 'embedding', 'status', 'error'], 'failed')
    """

    def __init__(
        self,
        encoder: ImageEncoder | str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        revision: str | None = None,
        backend: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        loader: ImageLoader | None = None,
        num_workers: int | None = None,
        load_in: Literal["threads", "processes"] = "threads",
        token: str | bool | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        local_files_only: bool = False,
        batch_size: int | None = None,
        normalize: bool = True,
        column: str | None = None,
        filesystem: pa.fs.FileSystem | None = None,
        without: Sequence[str] = (),
        fingerprint: str | None = None,
    ) -> None:
        if num_workers is None and not isinstance(encoder, ImageEncoder):
            num_workers = _own_cpus()
        self._encoders = Encoders(
            model=encoder,
            revision=revision,
            backend=backend,
            device=device,
            dtype=dtype,
            loader=loader,
            num_workers=num_workers,
            load_in=load_in,
            token=token,
            cache_dir=cache_dir,
            local_files_only=local_files_only,
            batch_size=batch_size,
            normalize=normalize,
        )
        self._column = column
        self._filesystem = filesystem
        self._without = tuple(without)
        self.fingerprint = self._encoders.fingerprint
        if fingerprint not in (None, self.fingerprint):
            raise ConfigurationError(
                f"{encoder} has other weights than when the job began; restore them, or start another job"
            )

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return a table with an embedding, a status and an error for each row.

        Args:
            table: Batch with a column of images.

        Raises:
            ConfigurationError: The table has no such column.
        """
        column = image_column(table.column_names, self._column)
        items = [image_in(cell) for cell in table[column].to_pylist()]
        if self._filesystem is not None:
            items = [_File(self._filesystem, item) if isinstance(item, str) else item for item in items]
        return self._of_items(table, items)

    def _of_items(self, table: pa.Table, items: Sequence[Any]) -> pa.Table:
        """Return the table of the rows' own columns and those of `embeddings_table`, given the image of each row."""
        embeddings, failures = self._encoders.embed_images(items)
        kept = {name: table[name] for name in table.column_names if name not in self._without}
        return embeddings_table(
            kept,
            embeddings,
            failures,
            fingerprint=self.fingerprint,
            model=self._encoders.images.model,
            space=self._encoders.images.space,
        )


class _File:
    """File of a file system that is opened by its loading thread, so that many requests to a store run at a time."""

    def __init__(self, filesystem: pa.fs.FileSystem, path: str) -> None:
        self.name = path
        self._filesystem = filesystem
        self._stream: pa.NativeFile | None = None

    def read(self, size: int, /) -> bytes:
        if self._stream is None:
            self._stream = self._filesystem.open_input_stream(self.name)
        content: bytes = self._stream.read(size)
        return content


def _own_cpus() -> int | None:
    """Return the number of CPUs that Ray has given to this actor; None outside of an actor or if there are none."""
    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return None
    return int(ray.get_runtime_context().get_assigned_resources().get("CPU", 0)) or None
