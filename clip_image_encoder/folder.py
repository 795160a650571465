"""Vectors of all images of a folder or another source, written as Parquet files; an interrupted job can be resumed."""

from __future__ import annotations

import os
import warnings
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path

from clip_image_encoder._arguments import check_batch_size, check_count
from clip_image_encoder._progress import bars, is_interactive
from clip_image_encoder.batches import EncodedBatch, join
from clip_image_encoder.encoder import ImageEncoder
from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.images import ImageInput, ImageLoader
from clip_image_encoder.images.formats import file_endings
from clip_image_encoder.images.listing import ending_of, images_below, is_hidden, warn_of_other_files
from clip_image_encoder.parquet import EmbeddingFiles, embeddings_table, open_folder
from clip_image_encoder.sources import FolderImages, ImageSource, Selection

__all__ = ["FolderPlan", "FolderSummary", "embed_folder", "embed_images", "list_images", "plan_images"]


@dataclass(frozen=True, kw_only=True)
class FolderSummary:
    """Counts of a run of `embed_folder` or `embed_images`.

    Attributes:
        embedded: Number of images whose vectors this run has written.
        failed: Number of images that could not be read; each is in `failed-*.parquet` with its error.
        skipped: Number of images that an earlier run had written.
        left_out: Number of files that are not images, by the ending of their names in lower case, such as `.txt`; ""
            for those without an ending. Hidden files don't count.
    """

    embedded: int
    failed: int
    skipped: int
    left_out: Mapping[str, int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, kw_only=True)
class FolderPlan:
    """Counts of what a run of `embed_images` would do.

    Attributes:
        new: Number of images that would be encoded.
        done: Number of images that an earlier run has written.
        left_out: Number of files that are not images, by the ending of their names, as in `FolderSummary`.
    """

    new: int
    done: int
    left_out: Mapping[str, int] = field(default_factory=dict, hash=False)


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
            followed. A warning counts the files that are left out; `embed_images` counts them in its result alone.
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
        FolderSummary(embedded=1, failed=0, skipped=0, left_out={})
    """
    summary = embed_images(
        FolderImages(source, without=destination),
        destination,
        encoder,
        batch_size=batch_size,
        rows_per_file=rows_per_file,
        retry_failed=retry_failed,
        show_progress=show_progress,
    )
    warn_of_other_files(summary.left_out, place=str(source), stacklevel=3)
    return summary


def embed_images(
    source: ImageSource,
    destination: str | os.PathLike[str],
    encoder: ImageEncoder,
    *,
    batch_size: int | None = None,
    rows_per_file: int = 1024,
    retry_failed: bool = False,
    show_progress: bool | None = None,
) -> FolderSummary:
    """Encode all images of a source, and write the vectors as Parquet files, as `embed_folder` does for a folder.

    Args:
        source: Source of the images, such as `FolderImages`, `TarImages`, `ParquetImages` or `ListedImages` of
            `clip_image_encoder.sources`; its names are the column `path`.
        destination: Folder or URL for the Parquet files, as in `embed_folder`.
        encoder: Encoder of the images; its fingerprint is stored with the vectors.
        batch_size: Number of images in one forward pass; None means 128 on CUDA devices, and 32 on others or where
            both kinds are used.
        rows_per_file: Number of images in a file, and the largest number that is encoded again after a kill.
        retry_failed: Whether images that failed before are tried again; False skips them.
        show_progress: Whether a bar shows images per second and failures; None shows it in a terminal or notebook.

    Raises:
        ConfigurationError: The source can't be read; or the destination holds vectors of another encoder or a damaged
            file, can't be written to, or is in use by another job.
        OSError: A file can't be written, such as on a full disk; files that are complete stay.
        BackendError: The model or its device failed; files that are complete stay.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from clip_image_encoder import ImageEncoder
        >>> from clip_image_encoder.folder import embed_images
        >>> from clip_image_encoder.sources import ListedImages
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 64), "red").save(folder / "red.png")
        >>> _ = (folder / "list.txt").write_text("red.png")
        >>> embed_images(ListedImages(folder / "list.txt"), folder / "vectors.parquet", ImageEncoder("tiny-shapes"))
        FolderSummary(embedded=1, failed=0, skipped=0, left_out={})
    """
    files = EmbeddingFiles.at(destination)
    batch_size = check_batch_size(batch_size)
    rows_per_file = check_count(rows_per_file, name="rows_per_file")
    fingerprint = encoder.fingerprint
    with files.locked():
        done = files.written("path", fingerprint=fingerprint)
        if retry_failed:
            done -= files.remove_failed("path", _count(source, encoder.loader).names)
        selection = Selection(encoder.loader, done=done)
        images = source.images(selection)
        failed = _embed(
            images, selection, files, encoder, batch_size=batch_size, rows_per_file=rows_per_file, show=show_progress
        )
    if selection.repeated:
        again = f"names that come again in the source: {selection.repeated}"
        warnings.warn(f"{again}; the first image of each has the row", stacklevel=2)
    return FolderSummary(
        embedded=selection.new - failed,
        failed=failed,
        skipped=selection.skipped,
        left_out=dict(selection.left_out.most_common()),
    )


def plan_images(
    source: ImageSource, destination: str | os.PathLike[str], *, loader: ImageLoader | None = None
) -> FolderPlan:
    """Count what `embed_images` would do, without a model; nothing is written, and no image is decoded.

    Args:
        source: Source of the images, as in `embed_images`.
        destination: Folder or URL of the Parquet files; whose encoder's vectors they hold is not checked.
        loader: Loader of the encoder, which tells the formats that are read; None means `ImageLoader()`.

    Raises:
        ConfigurationError: The source can't be read, or the destination holds a damaged file.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from clip_image_encoder.folder import plan_images
        >>> from clip_image_encoder.sources import FolderImages
        >>> folder = Path(tempfile.mkdtemp())
        >>> for name in ("red.png", "notes.txt"):
        ...     (folder / name).touch()
        >>> plan_images(FolderImages(folder), folder / "vectors.parquet")
        FolderPlan(new=1, done=0, left_out={'.txt': 1})
    """
    done = EmbeddingFiles.at(destination).written("path", fingerprint=None)
    counted = _count(source, ImageLoader() if loader is None else loader, done=done)
    return FolderPlan(new=counted.new, done=counted.skipped, left_out=dict(counted.left_out.most_common()))


def _count(source: ImageSource, loader: ImageLoader, *, done: Set[str] = frozenset()) -> Selection:
    """Go through the names of a source, and return the counts."""
    selection = Selection(loader, done=done, counts_only=True)
    for _ in source.images(selection):
        pass  # nothing is yielded, since nothing is taken
    return selection


def _embed(
    images: Iterator[tuple[str, ImageInput]],
    selection: Selection,
    files: EmbeddingFiles,
    encoder: ImageEncoder,
    *,
    batch_size: int | None,
    rows_per_file: int,
    show: bool | None,
) -> int:
    """Encode images, write their rows, and return the number of failures."""
    fingerprint = encoder.fingerprint
    failed = 0
    kept: list[EncodedBatch] = []
    names: deque[str] = deque()  # of the images that have been drawn, and have no row yet

    def drawn() -> Iterator[ImageInput]:
        for name, image in images:
            names.append(name)
            yield image

    def write() -> None:
        embeddings, failures = join(kept, dimension=encoder.dimension)
        kept.clear()
        paths = [names.popleft() for _ in failures]
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
    with bars()(total=selection.total, unit="image", disable=not shown) as bar:
        try:
            for batch in encoder.stream(drawn(), batch_size, show_progress=False):
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


def list_images(
    source: str | os.PathLike[str], formats: Sequence[str], *, without: Path | None = None, raw_photos: bool = False
) -> list[str]:
    r"""Return the paths of the images in a folder and its subfolders, relative to the folder, with `/`.

    An image is a file whose name ends as those of a format do. Warnings list the files that are left out.

    Args:
        source: Folder, or URL of a folder such as `s3://bucket/photos`, as `parquet.open_folder` takes it.
        formats: Pillow's names of the image formats, such as `ImageLoader().formats`.
        without: Folder on this machine that is not searched; None searches all folders.
        raw_photos: Whether cameras' raw photos, such as `.dng`, are images.

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
        return images_below(Path(root), formats, without=without, raw_photos=raw_photos)
    endings = file_endings(formats, raw_photos=raw_photos)
    found = fs.SubTreeFileSystem(root, filesystem).get_file_info(fs.FileSelector("", recursive=True))
    names = [info.path for info in found if info.is_file]
    others = Counter(map(ending_of, (name for name in names if ending_of(name) not in endings and not is_hidden(name))))
    warn_of_other_files(others, place=str(source), stacklevel=3)
    return sorted(name for name in names if ending_of(name) in endings)
