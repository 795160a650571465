"""Vectors of all images in a folder, written as Parquet files on one machine; an interrupted job can be resumed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from clip_image_encoder._arguments import check_batch_size, check_count
from clip_image_encoder._progress import bars, is_interactive
from clip_image_encoder.batches import EncodedBatch, join
from clip_image_encoder.encoder import ImageEncoder
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.images.formats import file_endings
from clip_image_encoder.images.listing import images_below, path_of, warn_of_other_files
from clip_image_encoder.parquet import EmbeddingFiles, embeddings_table, open_folder

__all__ = ["FolderSummary", "embed_folder", "list_images"]


@dataclass(frozen=True, kw_only=True)
class FolderSummary:
    """Counts of a run of `embed_folder`.

    Attributes:
        embedded: Number of images whose vectors this run has written.
        failed: Number of images that could not be read; each is in `failed-*.parquet` with its error.
        skipped: Number of images that an earlier run had written.
    """

    embedded: int
    failed: int
    skipped: int


def embed_folder(
    source: str | os.PathLike[str],
    destination: str | os.PathLike[str],
    encoder: ImageEncoder,
    *,
    batch_size: int | None = None,
    rows_per_file: int = 1024,
    retry_failed: bool = False,
    show_progress: bool | None = None,
) -> FolderSummary:
    """Encode all images in a folder and its subfolders, and write the vectors as Parquet files.

    A call may be killed at any moment and repeated: images that are in the destination are not encoded again, and
    every file there is complete. Another call also adds images that are new. While a call writes to a folder, other
    calls to it are refused. A destination at a URL can't be locked: run one job at a time there.

    Args:
        source: Folder of images: the files whose names end as those of the loader's formats do. Links are
            followed. Warnings list the files that are left out.
        destination: Folder or URL for the Parquet files, which `pyarrow.parquet.read_table` and pandas read:
            columns `path` (below the source, with `/`), `embedding`, `status`, `error`; images that
            succeeded are in `ok-*.parquet`, the others in `failed-*.parquet`, with NaN.
        encoder: Encoder of the images; its fingerprint is stored with the vectors.
        batch_size: Number of images in one forward pass; None means 128 on CUDA devices, and 32 on others or where
            both kinds are used.
        rows_per_file: Number of images in a file, and the largest number that is encoded again after a kill.
        retry_failed: Whether images that failed before are tried again, such as those on a network disk that
            was not mounted; False skips them.
        show_progress: Whether a bar shows images per second and failures; None shows it in a terminal or notebook.

    Raises:
        ConfigurationError: There is no such folder; or the destination holds vectors of another encoder or a damaged
            file, can't be written to, or is in use by another job.
        OSError: A file can't be written, such as on a full disk; files that are complete stay.
        BackendError: The model or its device failed; files that are complete stay.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from clip_image_encoder import ImageEncoder
        >>> from clip_image_encoder.folder import embed_folder
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 64), "red").save(folder / "red.png")
        >>> embed_folder(folder, folder / "vectors.parquet", ImageEncoder("tiny-shapes"))
        FolderSummary(embedded=1, failed=0, skipped=0)
    """
    root, files = Path(source), EmbeddingFiles.at(destination)
    if not root.is_dir():
        raise ConfigurationError(f"{root} is not a folder")
    batch_size = check_batch_size(batch_size)
    rows_per_file = check_count(rows_per_file, name="rows_per_file")
    fingerprint = encoder.fingerprint
    with files.locked():
        done = files.written("path", fingerprint=fingerprint)
        names = images_below(root, encoder.loader.formats, without=files.local)
        if retry_failed:
            done -= files.remove_failed("path", set(names))
        todo = [name for name in names if name not in done]
        failed = _embed(
            root, todo, files, encoder, batch_size=batch_size, rows_per_file=rows_per_file, show=show_progress
        )
    return FolderSummary(embedded=len(todo) - failed, failed=failed, skipped=len(names) - len(todo))


def _embed(
    root: Path,
    names: list[str],
    files: EmbeddingFiles,
    encoder: ImageEncoder,
    *,
    batch_size: int | None,
    rows_per_file: int,
    show: bool | None,
) -> int:
    """Encode the images of a folder that have these names, write their rows, and return the number of failures."""
    fingerprint = encoder.fingerprint
    failed = 0
    kept: list[EncodedBatch] = []

    def write() -> None:
        embeddings, failures = join(kept, dimension=encoder.dimension)
        start = kept[0].start
        kept.clear()
        paths = names[start : start + len(failures)]
        table = embeddings_table(
            {"path": paths},
            embeddings,
            failures,
            fingerprint=fingerprint,
            model=encoder.model,
            space=encoder.space,
        )
        files.add(table, key="path")

    shown = is_interactive() if show is None else show
    with bars()(total=len(names), unit="image", disable=not shown) as bar:
        try:
            for batch in encoder.stream((path_of(root, name) for name in names), batch_size, show_progress=False):
                kept.append(batch)
                failed += len(batch.failures)
                bar.set_postfix(failed=failed, refresh=False)
                bar.update(len(batch.embeddings))
                if batch.start + len(batch.embeddings) - kept[0].start >= rows_per_file:
                    write()
        finally:
            # Also after a failure of the device or Ctrl-C, so that encoded images are not lost.
            if kept:
                write()
    return failed


def list_images(source: str | os.PathLike[str], formats: Sequence[str], *, without: Path | None = None) -> list[str]:
    r"""Return the paths of the images in a folder and its subfolders, relative to the folder, with `/`.

    An image is a file whose name ends as those of a format do. Warnings list the files that are left out.

    Args:
        source: Folder, or URL of a folder such as `s3://bucket/photos`, as `parquet.open_folder` takes it.
        formats: Pillow's names of the image formats, such as `ImageLoader().formats`.
        without: Folder on this machine that is not searched; None searches all folders.

    Returns:
        Sorted paths. A byte that is not valid in a path's encoding is written as `\xNN`.

    Raises:
        ConfigurationError: There is no such folder.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from clip_image_encoder import ImageLoader
        >>> from clip_image_encoder.folder import list_images
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("red.png", "blue.jpg"):
        ...     (folder / name).touch()
        >>> list_images(folder, ImageLoader().formats)
        ['blue.jpg', 'red.png']
    """
    from pyarrow import fs  # imported here: if it is missing, parquet.py has raised an error with the install line

    filesystem, root = open_folder(source)
    if filesystem.get_file_info(root).type != fs.FileType.Directory:
        raise ConfigurationError(f"{source} is not a folder")
    if isinstance(filesystem, fs.LocalFileSystem):
        # pyarrow raises if a single name in the folder is not valid UTF-8, and lists nothing.
        return images_below(Path(root), formats, without=without)
    endings = file_endings(formats)
    found = fs.SubTreeFileSystem(root, filesystem).get_file_info(fs.FileSelector("", recursive=True))
    names = [info.path for info in found if info.is_file]
    images = {name for name in names if PurePosixPath(name).suffix.lower() in endings}
    warn_of_other_files([name for name in names if name not in images], place=str(source), stacklevel=3)
    return sorted(images)
