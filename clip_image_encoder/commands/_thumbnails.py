"""Thumbnails of images as data URIs, and links to the images, for a page that is read in a browser."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from PIL import Image

from clip_image_encoder._arguments import available_cores
from clip_image_encoder._threads import in_order
from clip_image_encoder.errors import ImageError
from clip_image_encoder.images import ImageLoader
from clip_image_encoder.images.listing import path_of

__all__ = ["Thumbnail", "thumbnails"]

# Twice the height on the page, for sharp screens; the width is that of a panorama.
_WIDTH, _HEIGHT = 1200, 440


@dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """What a page shows of an image.

    Attributes:
        link: URL of the image, relative to the page; None if the path leads out of the folder.
        source: Data URI of the thumbnail; None if there is no thumbnail.
        width: Width of the thumbnail in pixels; 0 if there is none.
        height: Height of the thumbnail in pixels; 0 if there is none.
        problem: Reason why there is no thumbnail; None if there is one.
    """

    link: str | None = None
    source: str | None = None
    width: int = 0
    height: int = 0
    problem: str | None = None


def thumbnails(paths: Sequence[str], root: Path, *, place: Path) -> Generator[Thumbnail]:
    """Yield a thumbnail for each image; threads make some ahead.

    Args:
        paths: Paths of the images below the folder, as `embed_folder` stores them.
        root: Folder of the images.
        place: Folder of the page, which links are relative to.
    """
    loader = ImageLoader(color_profile="srgb")
    workers = available_cores()
    return in_order(lambda path: _thumbnail(path, root, place, loader), paths, workers=workers, ahead=2 * workers)


def _thumbnail(path: str, root: Path, place: Path, loader: ImageLoader) -> Thumbnail:
    # The vectors may be a stranger's: a path in them must not bring another file of this machine onto the page.
    if PurePosixPath(path).is_absolute() or Path(path).is_absolute() or ".." in Path(path).parts:
        return Thumbnail(problem="the path leads out of the folder")
    file = path_of(root, path)
    if not file.is_file():
        return Thumbnail(problem="the file is not there")
    link = _relative_url(file, place)
    try:
        image = loader(file, model_size=(_HEIGHT // 2, _HEIGHT // 2))
    except ImageError as error:
        return Thumbnail(link=link, problem=error.reason)
    image.thumbnail((_WIDTH, _HEIGHT), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=82)
    source = f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"
    return Thumbnail(link=link, source=source, width=image.width, height=image.height)


def _relative_url(file: Path, place: Path) -> str:
    """Return the URL of a file, relative to a folder; absolute on another drive of Windows."""
    try:
        relative = os.path.relpath(file, place)
    except ValueError:
        return file.absolute().as_uri()
    # With "./", since a name may begin like a scheme; as bytes, since a name may be no valid text.
    return f"./{quote(os.fsencode(relative.replace(os.sep, '/')))}"
