"""The job: images of a folder or of another source, encoded by actors, which write the vectors as Parquet files."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs
import ray
import ray.data
from ray import cloudpickle
from ray.data import ActorPoolStrategy, Dataset

from clip_image_encoder import ImageEncoder, ImageLoader
from clip_image_encoder.arguments import check_batch_size, check_count, check_number
from clip_image_encoder.checkpoint import DEFAULT_MODEL
from clip_image_encoder.folder import list_images
from clip_image_encoder.integrations.ray.embed import EmbedImages
from clip_image_encoder.parquet import EmbeddingFiles, open_folder
from clip_image_encoder.sources import ImageSource, Selection

__all__ = ["embed_images"]

# Column of the images of a source, as its tasks hand them to the actors: pickled paths, parts of files, or bytes.
_IMAGE = "__image"

# Largest number of images in a block; they are encoded again if its machine is lost.
_ROWS_A_BLOCK = 4096


class _WriteEmbeddings:
    """The work of a job's actor: it embeds a table of images, writes the rows, and returns their number.

    Ray's own writing takes a process for each waiting table, and copies the vectors there. A call that Ray repeats
    writes the same files again.
    """

    def __init__(self, files: EmbeddingFiles, settings: dict[str, Any]) -> None:
        self._files = files
        self._embed = EmbedImages(**settings)

    def __call__(self, table: pa.Table) -> pa.Table:
        if table.num_rows and _IMAGE in table.column_names:
            images = [cloudpickle.loads(image) for image in table[_IMAGE].to_pylist()]
            self._files.add(self._embed._of_items(table, images), key="path")
        elif table.num_rows:
            self._files.add(self._embed(table), key="path")
        return pa.table({"rows": [table.num_rows]})


def embed_images(
    source: str | os.PathLike[str] | ImageSource | Dataset,
    destination: str | os.PathLike[str],
    encoder: ImageEncoder | str | os.PathLike[str] = DEFAULT_MODEL,
    *,
    revision: str | None = None,
    backend: str | None = None,
    dtype: str = "auto",
    loader: ImageLoader | None = None,
    num_workers: int | None = None,
    load_in: Literal["threads", "processes"] = "threads",
    token: str | bool | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    local_files_only: bool = False,
    num_gpus: float = 0,
    num_cpus: float | None = None,
    concurrency: int = 1,
    batch_size: int | None = None,
    rows_per_file: int = 256,
) -> None:
    """Encode a folder of images with Ray, and write the vectors as Parquet files.

    Images that are in the destination are not encoded again: repeat the call after a cluster has failed, or
    to add new images. While a call writes to a folder, other calls to it are refused, as by `embed_folder`.

    Args:
        source: Folder that every machine has; URL of a folder, such as `s3://bucket/photos` or of another file
            system that fsspec opens; source of `clip_image_encoder.sources`, such as `TarImages`, whose files every
            machine has; or Dataset with the column `path`, and with `bytes` if the actors can't open the paths.
        destination: Folder or URL for `ok-*.parquet` and `failed-*.parquet`, as `embed_folder` writes them.
        encoder: Name of a model: a hub id, a folder that every machine has, or "tiny-shapes". Also an `ImageEncoder`,
            which travels to the actors with the settings of its own; the arguments up to `local_files_only` are for
            a name.
        revision: Branch, tag or commit on the hub; None means the newest commit.
        backend: Name of the runtime; None means the one that an exported folder was made for, and torch otherwise.
        dtype: Type that the model computes in, such as "float32"; "auto" means float16 on cuda, float32 elsewhere.
        loader: Loader that reads the images; None means `ImageLoader()`.
        num_workers: Number of threads of each actor that load images; None means as many as its CPUs.
        load_in: "threads", the default, decodes files on loading threads; "processes" decodes them in Python processes.
        token: Access token of the hub, which travels to the actors; None means the one stored on their machines, if
            any.
        cache_dir: Folder for downloaded files; None means the hub's own cache.
        local_files_only: Whether only files on the actors' machines are used, without a request to the network.
        num_gpus: Number of GPUs of each actor; 0, the default, computes on CPUs.
        num_cpus: Number of CPUs, and of computing threads, of each actor; None divides the cluster's CPUs evenly.
        concurrency: Number of actors, 1 by default.
        batch_size: Number of images in a forward pass; None means 128 on CUDA devices and 32 on others.
        rows_per_file: Number of images that an actor gets at a time, and of rows in a file, 256 by default; of a
            folder of many images an actor gets more, up to 4,096.

    Raises:
        ConfigurationError: There is no such folder; or the destination holds vectors of another encoder or a damaged
            file, can't be written to, or is in use by another job.
    """
    concurrency = check_count(concurrency, name="concurrency")
    rows_per_file = check_count(rows_per_file, name="rows_per_file")
    num_gpus = check_number(num_gpus, name="num_gpus", kind="a number from 0", least=0)
    if num_cpus is not None:
        num_cpus = check_number(num_cpus, name="num_cpus", kind="a number from 0", least=0)
    settings = {
        "encoder": encoder if isinstance(encoder, ImageEncoder) else _absolute(encoder),
        "revision": revision,
        "backend": backend,
        "device": None if isinstance(encoder, ImageEncoder) else "cuda" if num_gpus else "cpu",
        "dtype": dtype,
        "loader": loader,
        "num_workers": num_workers,
        "load_in": load_in,
        "token": token,
        "cache_dir": cache_dir if cache_dir is None else Path(cache_dir).absolute(),
        "local_files_only": local_files_only,
        "batch_size": check_batch_size(batch_size),
    }
    # Computed in a task with the actors' resources, since this machine may have no GPU.
    fingerprint = ray.get(ray.remote(_fingerprint).options(num_gpus=num_gpus).remote(settings))
    files = EmbeddingFiles.at(destination)
    with files.locked():
        todo = _not_written(
            source,
            files,
            fingerprint=fingerprint,
            loader=encoder.loader if isinstance(encoder, ImageEncoder) else loader,
            actors=concurrency,
            rows_per_file=rows_per_file,
        )
        if todo is None:
            return
        folder = None
        is_folder = False
        if isinstance(source, (str, os.PathLike)):
            is_folder = True
            filesystem, root = open_folder(source)
            # A file system whose root is the folder: paths in it are relative, as in the column `path`.
            folder = pa.fs.SubTreeFileSystem(root, filesystem)
        written = todo.map_batches(
            _WriteEmbeddings,
            fn_constructor_args=(
                files,
                {**settings, "filesystem": folder, "without": ("bytes", _IMAGE), "fingerprint": fingerprint},
            ),
            batch_format="pyarrow",
            batch_size=None if is_folder else rows_per_file,  # a block of the folder's at a time
            num_gpus=num_gpus,
            num_cpus=num_cpus or _share(concurrency, spare=0 if is_folder else 1),
            compute=ActorPoolStrategy(size=concurrency),
        )
        written.materialize()


def _not_written(
    source: str | os.PathLike[str] | ImageSource | Dataset,
    files: EmbeddingFiles,
    *,
    fingerprint: str,
    loader: ImageLoader | None,
    actors: int,
    rows_per_file: int,
) -> Dataset | None:
    """Return a Dataset of the images that have no row yet, or None if there are none.

    A function of its own, so that the lists of all names are freed before the job runs.
    """
    done = files.written("path", fingerprint=fingerprint)
    if isinstance(source, Dataset):
        return source.filter(_NotIn(done))
    loader = loader or ImageLoader()
    if not isinstance(source, (str, os.PathLike)):
        return _drawn(source, _ReadImages(done, loader, rows=rows_per_file), done=done)
    raw_photos = loader.raw_photos != "refuse"
    names = list_images(source, loader.formats, without=files.local, raw_photos=raw_photos)
    paths = [path for path in names if path not in done]
    if not paths:
        return None
    # Paths only, since the actors read the files: Ray's own reading would copy their content twice.
    rows = max(rows_per_file, min(_ROWS_A_BLOCK, len(paths) // (4 * actors)))
    return ray.data.from_arrow([pa.table({"path": paths[at : at + rows]}) for at in range(0, len(paths), rows)])


def _drawn(source: ImageSource, read: _ReadImages, *, done: set[str]) -> Dataset | None:
    """Return a Dataset of the images of a source that have no row yet, or None if there are none."""
    counts = Selection(read.loader, done=done, counts_only=True)
    for _ in source.images(counts):
        pass  # nothing is yielded, since nothing is taken
    if counts.left_out:
        several = [f"{count} {ending or 'without an ending'}" for ending, count in counts.left_out.most_common()]
        warnings.warn(f"files that are not images are left out: {', '.join(several)}", stacklevel=4)
    if not counts.new:
        return None
    # A part of the source is read by one task, which yields tables as it goes.
    parts = [pa.table({"part": [cloudpickle.dumps(part)]}) for part in source.parts()]
    return ray.data.from_arrow(parts).map_batches(read, batch_format="pyarrow", batch_size=None)


def _share(actors: int, *, spare: int) -> int:
    """Return the largest number of CPUs that each actor can have, if some are spared for a Dataset's own tasks."""
    nodes = sorted(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])
    nodes[-1] -= spare
    return next((cpus for cpus in range(max(nodes), 1, -1) if sum(node // cpus for node in nodes) >= actors), 1)


def _fingerprint(settings: dict[str, Any]) -> str:
    return EmbedImages(**settings).fingerprint


def _absolute(model: str | os.PathLike[str]) -> str | os.PathLike[str]:
    """Return the absolute path of a model that is a folder here, since an actor has another current folder."""
    return Path(model).absolute() if model != "tiny-shapes" and Path(model).is_dir() else model


class _NotIn:
    """Filter of rows whose path is not among those that are written."""

    def __init__(self, done: set[str]) -> None:
        self._done = ray.put(frozenset(done))

    def __call__(self, row: dict[str, Any]) -> bool:
        done: frozenset[str] = ray.get(self._done)
        return row["path"] not in done


class _ReadImages:
    """Function for `map_batches` that yields the names and images of parts of a source, those that have no row yet."""

    def __init__(self, done: set[str], loader: ImageLoader, *, rows: int) -> None:
        self.loader = loader
        self._done = ray.put(frozenset(done))
        self._rows = rows

    def __call__(self, table: pa.Table) -> Iterator[pa.Table]:
        for part in table["part"].to_pylist():
            source: ImageSource = cloudpickle.loads(part)
            images = source.images(Selection(self.loader, done=ray.get(self._done)))
            while rows := list(islice(images, self._rows)):
                pickled = [cloudpickle.dumps(image) for _, image in rows]
                yield pa.table({"path": [name for name, _ in rows], _IMAGE: pa.array(pickled, pa.large_binary())})
