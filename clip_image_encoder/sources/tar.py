"""Tar files as a source, such as the shards of a WebDataset; they are neither unpacked nor held in memory."""

from __future__ import annotations

import io
import tarfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.images import ImageInput
from clip_image_encoder.sources.selection import ImageSource, Selection
from clip_image_encoder.sources.stored import BEGIN, Places, Region, StoredFile, files_at

__all__ = ["TarImages"]

# Bytes that are read at a time while headers are looked for, so that small members cost no call each.
_BUFFER = 2**18


@dataclass(frozen=True)
class TarImages:
    """The images in tar files, in the order in which they are in them; names are such as `shard-000.tar/0001.jpg`.

    Of a WebDataset's sample, `0001.jpg` with `0001.txt` and `0001.json`, the member with an image's ending is the
    image. Only the headers of the members are read to list them, and the images are read by the threads that load
    them. The rest of a file that is damaged or cut short is left out with a warning.

    Args:
        places: Path or URL of a tar file, of a folder of tar files, or a pattern such as `shards/*.tar`; or several.
            They are not compressed.
        by_content: Whether the first bytes of a member tell that it is an image; False judges by the ending of its
            name.

    Raises:
        ConfigurationError: There is no such file, or two files have the same name.

    Example:
        >>> import io, tarfile, tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from clip_image_encoder import ImageLoader
        >>> from clip_image_encoder.sources import Selection, TarImages
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (64, 64), "red").save(folder / "0001.png")
        >>> with tarfile.open(folder / "shard-000.tar", "w") as tar:
        ...     tar.add(folder / "0001.png", "0001.png")
        >>> [name for name, image in TarImages(folder / "shard-000.tar").images(Selection(ImageLoader()))]
        ['shard-000.tar/0001.png']
    """

    places: Places
    by_content: bool = False
    _files: tuple[StoredFile, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_files", files_at(self.places, ending=".tar"))

    def images(self, selection: Selection, /) -> Iterator[tuple[str, ImageInput]]:
        """Return an iterator of names and file objects, which are opened when they are read.

        Args:
            selection: Images that the job takes, and counts of the others.

        Raises:
            ConfigurationError: The first file is not a tar file, or is compressed.
        """
        first = self._files[0]
        try:
            with _opened(first) as tar:
                tar.next()
        except (tarfile.TarError, OSError) as error:
            raise ConfigurationError(
                f"{first.label} is not a tar file, or is compressed; decompress it first"
            ) from error
        return (image for part in self.parts() for image in part.images(selection))

    def parts(self) -> Sequence[ImageSource]:
        """Return a source for each tar file."""
        return [_TarFile(file, self.by_content) for file in self._files]


@dataclass(frozen=True)
class _TarFile:
    file: StoredFile
    by_content: bool

    def parts(self) -> Sequence[ImageSource]:
        return [self]

    def images(self, selection: Selection, /) -> Iterator[tuple[str, ImageInput]]:
        file = self.file
        try:
            with _opened(file) as tar:
                while (member := tar.next()) is not None:
                    # tarfile would keep the header of every member.
                    tar.members.clear()  # type: ignore[attr-defined]  # an old attribute that typeshed lacks
                    name = f"{file.label}/{member.name.removeprefix('./')}"
                    if member.isdir():
                        continue
                    if not member.isreg() or member.issparse():  # a link, or a file in pieces
                        selection.leave_out(name)
                        continue
                    image = Region(file, member.offset_data, member.size, name)
                    if selection.takes_file(name, begin=partial(image.begin, BEGIN) if self.by_content else None):
                        yield name, image
                _check_end(tar)
        except (tarfile.TarError, OSError) as error:
            warnings.warn(f"the rest of {file.label} is left out: {error}", stacklevel=2)


@contextmanager
def _opened(file: StoredFile) -> Iterator[tarfile.TarFile]:
    # A name that is not UTF-8 is written as names in folders are.
    with (
        file.open() as raw,
        io.BufferedReader(raw, _BUFFER) as opened,
        tarfile.TarFile(fileobj=opened, encoding="utf-8", errors="backslashreplace") as tar,
    ):
        yield tar


def _check_end(tar: tarfile.TarFile) -> None:
    """Check that the headers have come to an end, since tarfile takes a damaged one for the end."""
    assert tar.fileobj is not None
    tar.fileobj.seek(tar.offset)
    if tar.fileobj.read(tarfile.BLOCKSIZE).strip(b"\0"):
        raise tarfile.ReadError(f"the header at byte {tar.offset:,} is damaged")
