"""Ray Data: the same encoder in many actors, on many machines."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs
import ray
import ray.data
from ray.data import ActorPoolStrategy, Dataset

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader
from clip_image_encoder.arguments import check_count, check_number
from clip_image_encoder.batches import join
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.folder import list_images
from clip_image_encoder.parquet import EmbeddingFiles, embeddings_table, open_folder

__all__ = ["EmbedImages", "embed_images"]

# What is done again, at most, when a machine is lost.
_ROWS_A_BLOCK = 4096


class EmbedImages:
    """What `Dataset.map_batches` calls: one encoder an actor, which loads its weights for itself.

    A batch is a `pyarrow.Table` with the column `bytes` (the content of image files) or `path`; it comes
    back with its own columns and those of `embeddings_table`. A bad picture is a row with its error,
    never a failed block.

    Args:
        model: A hub id, a folder that every machine has, or "tiny-shapes".
        backend: Name of the runtime; None is the one that an exported folder was made for, and torch for all others.
        device: Name of a device, as in `ImageEncoder`; None is the best there is.
        dtype: Type that the model computes in, as in `ImageEncoder`.
        loader: Reads the images; None is `ImageLoader()`.
        filesystem: File system of pyarrow that the paths are in; None is the disk of the actor's machine.
        batch_size: Number of images that pass the model at a time.
        num_workers: Number of threads that load images; None is as many as the CPUs that Ray gives to the actor, or
            the cores of this machine where Ray gives none. Images that come over a network want more.
        without: Names of columns that are not handed on, such as `("bytes",)`.
        fingerprint: Fingerprint of the encoder that the job expects; None takes any encoder.

    Raises:
        ConfigurationError: In the actor: something can't be had, the encoder is another than expected, or a
            batch has neither column.

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
        model: str | os.PathLike[str] = DEFAULT_MODEL,
        *,
        backend: str | None = None,
        device: str | None = None,
        dtype: str = "auto",
        loader: ImageLoader | None = None,
        filesystem: pa.fs.FileSystem | None = None,
        batch_size: int = 32,
        num_workers: int | None = None,
        without: Sequence[str] = (),
        fingerprint: str | None = None,
    ) -> None:
        self._encoder = ImageEncoder(
            model,
            backend=backend,
            device=device,
            dtype=dtype,
            loader=loader,
            num_workers=_own_cpus() if num_workers is None else num_workers,
        )
        self._filesystem = filesystem
        self._batch_size = check_count(batch_size, name="batch_size")
        self._without = tuple(without)
        self._fingerprint = self._encoder.fingerprint
        if fingerprint not in (None, self._fingerprint):
            raise ConfigurationError(f"{model} has other weights than when the job began; put them back, or start anew")

    def __call__(self, table: pa.Table) -> pa.Table:
        """Return the table with an embedding, a status and an error for each row."""
        column = next((name for name in ("bytes", "path") if name in table.column_names), None)
        if column is None:
            raise ConfigurationError(f"the dataset needs a column 'bytes' or 'path', and has {table.column_names}")
        items = table[column].to_pylist()
        if column == "path" and self._filesystem is not None:
            items = [_File(self._filesystem, path) for path in items]
        batches = list(self._encoder.stream(items, self._batch_size, show_progress=False))
        embeddings, failures = join(batches, dimension=self._encoder.dimension)
        kept = {name: table[name] for name in table.column_names if name not in self._without}
        return embeddings_table(kept, embeddings, failures, fingerprint=self._fingerprint)


class _File:
    """A file that is opened by the thread that loads it: of an object store, many are at a time."""

    def __init__(self, filesystem: pa.fs.FileSystem, path: str) -> None:
        self.name = path
        self._filesystem = filesystem
        self._stream: pa.NativeFile | None = None

    def read(self, size: int, /) -> bytes:
        if self._stream is None:
            self._stream = self._filesystem.open_input_stream(self.name)
        content: bytes = self._stream.read(size)
        return content


class _WriteEmbeddings:
    """What an actor of a job does: it embeds a table, writes the rows, and hands on how many there were.

    Ray itself would write on processes of its own, one for each table that waits, and copy the vectors there. A call
    that Ray repeats writes the same files again.
    """

    def __init__(self, files: EmbeddingFiles, settings: dict[str, Any]) -> None:
        self._files = files
        self._embed = EmbedImages(**settings)

    def __call__(self, table: pa.Table) -> pa.Table:
        if table.num_rows:
            self._files.add(self._embed(table), key="path")
        return pa.table({"rows": [table.num_rows]})


def embed_images(
    source: str | os.PathLike[str] | Dataset,
    destination: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] = DEFAULT_MODEL,
    backend: str | None = None,
    dtype: str = "auto",
    loader: ImageLoader | None = None,
    num_gpus: float = 0,
    num_cpus: float | None = None,
    concurrency: int = 1,
    batch_size: int = 256,
) -> None:
    """Encode a folder of pictures with Ray, and write the vectors as Parquet.

    What the destination has already is not done again: call it once more after a cluster was lost, or
    when there are more pictures. While a call writes to a folder, another one is refused, as by `embed_folder`.

    Args:
        source: A folder that every machine has, a URL such as `s3://bucket/photos` or of another file system
            that fsspec opens, or a Dataset with the column `path`, and `bytes` where the actors can't open
            the paths.
        destination: Folder or URL for `ok-*.parquet` and `failed-*.parquet`, as `embed_folder` writes them.
        model: A hub id, a folder that every machine has, or "tiny-shapes".
        backend: Name of the runtime; None is the one that an exported folder was made for, and torch for all others.
        dtype: Type that the model computes in, as in `ImageEncoder`.
        loader: Reads the images; None is `ImageLoader()`.
        num_gpus: Number of GPUs of each actor; 0 computes on CPUs.
        num_cpus: Number of CPUs, and of computing threads, of each actor; None shares out what the cluster
            has evenly.
        concurrency: Number of actors.
        batch_size: Number of images that an actor gets at a time, and of rows in a file; of a folder of many images
            it gets more, up to 4,096.

    Raises:
        ConfigurationError: There is no such folder, or the destination holds vectors of another encoder or a
            damaged file, can't be written to, or is another job's at the moment.
    """
    concurrency, batch_size = check_count(concurrency, name="concurrency"), check_count(batch_size, name="batch_size")
    num_gpus = check_number(num_gpus, name="num_gpus", kind="a number from 0", least=0)
    if num_cpus is not None:
        num_cpus = check_number(num_cpus, name="num_cpus", kind="a number from 0", least=0)
    settings = {
        # An actor has another current folder.
        "model": Path(model).absolute() if model != "tiny-shapes" and Path(model).is_dir() else model,
        "backend": backend,
        "device": "cuda" if num_gpus else "cpu",
        "dtype": dtype,
        "loader": loader,
    }
    # Asked where the actors will be: this machine may have no GPU.
    fingerprint = ray.get(ray.remote(_fingerprint).options(num_gpus=num_gpus).remote(settings))
    files = EmbeddingFiles.at(destination)
    with files.locked():
        todo = _not_written(
            source, files, fingerprint=fingerprint, loader=loader, actors=concurrency, batch_size=batch_size
        )
        if todo is None:
            return
        folder = None
        if not isinstance(source, Dataset):
            filesystem, root = open_folder(source)
            # In a file system of its own, a path is what the folder's rows are known by.
            folder = pa.fs.SubTreeFileSystem(root, filesystem)
        written = todo.map_batches(
            _WriteEmbeddings,
            fn_constructor_args=(
                files,
                {**settings, "filesystem": folder, "without": ("bytes",), "fingerprint": fingerprint},
            ),
            batch_format="pyarrow",
            batch_size=batch_size if isinstance(source, Dataset) else None,  # a block of the folder's at a time
            num_gpus=num_gpus,
            num_cpus=num_cpus or _share(concurrency, spare=1 if isinstance(source, Dataset) else 0),
            compute=ActorPoolStrategy(size=concurrency),
        )
        written.materialize()


def _not_written(
    source: str | os.PathLike[str] | Dataset,
    files: EmbeddingFiles,
    *,
    fingerprint: str,
    loader: ImageLoader | None,
    actors: int,
    batch_size: int,
) -> Dataset | None:
    """Return the images that have no row yet, or None if there are none: what the driver knew of names is freed."""
    done = files.written("path", fingerprint=fingerprint)
    if isinstance(source, Dataset):
        return source.filter(_NotIn(done))
    formats = (loader or ImageLoader()).formats
    paths = [path for path in list_images(source, formats, without=files.local) if path not in done]
    if not paths:
        return None
    # The actors read the files: what comes through Ray's own reading is copied twice on its way.
    rows = max(batch_size, min(_ROWS_A_BLOCK, len(paths) // (4 * actors)))
    return ray.data.from_arrow([pa.table({"path": paths[at : at + rows]}) for at in range(0, len(paths), rows)])


def _share(actors: int, *, spare: int) -> int:
    """Return the most CPUs that each of so many actors can have, with some to spare for a Dataset's own tasks."""
    nodes = sorted(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    nodes[-1] -= spare
    return next((cpus for cpus in range(max(nodes), 1, -1) if sum(node // cpus for node in nodes) >= actors), 1)


def _own_cpus() -> int | None:
    """Return how many CPUs Ray has given to the actor that this runs in, or None."""
    if not ray.is_initialized() or ray.get_runtime_context().get_actor_id() is None:
        return None
    return int(ray.get_runtime_context().get_assigned_resources().get("CPU", 0)) or None


def _fingerprint(settings: dict[str, Any]) -> str:
    return ImageEncoder(**settings).fingerprint


class _NotIn:
    """Whether a row's path is none of those written."""

    def __init__(self, done: set[str]) -> None:
        self._done = ray.put(frozenset(done))

    def __call__(self, row: dict[str, Any]) -> bool:
        done: frozenset[str] = ray.get(self._done)
        return row["path"] not in done
