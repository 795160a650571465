"""Paths, bytes, file objects and data: URIs: from whatever holds an encoded picture to its bytes."""

from __future__ import annotations

import base64
import inspect
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, unquote_to_bytes

from clip_image_encoder.errors import (
    CorruptImageError,
    ImageError,
    ImageFetchError,
    ImageNotFoundError,
    UnsupportedImageError,
)
from clip_image_encoder.images.describe import describe_bytes, describe_data_uri, describe_url, short_text
from clip_image_encoder.images.limits import check_bytes
from clip_image_encoder.images.locks import lock_of
from clip_image_encoder.images.url import read_url
from clip_image_encoder.images.url_policy import UrlPolicy

__all__ = ["BinaryFile", "EncodedImage", "read_bytes", "read_file", "read_named", "read_path"]

# Python's files take as much memory as they are asked for, before they read.
_AT_ONCE = 2**24


@dataclass(frozen=True)
class EncodedImage:
    """What a path, bytes, a file object, a URI or a URL holds, not decoded yet.

    Attributes:
        data: the content of an image file, whole.
        source: where it came from, in a few words, for errors.
    """

    data: bytes
    source: str


class BinaryFile(Protocol):
    """Whatever has a `read` that gives bytes: open files, BytesIO, members of archives, responses."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, none at the end."""
        ...


def read_named(name: str, *, urls: UrlPolicy | None, max_bytes: int) -> EncodedImage:
    """Return the data and the description of what a str names: a path, a data: URI, or a URL if `urls` allows it.

    Raises:
        ImageFetchError: it is an http(s) URL that is not allowed or does not answer.
        ImageError: as `read_path`, or the URI is damaged or too long.
    """
    scheme = name[:8].lower()
    if scheme.startswith(("http://", "https://")):
        if urls is None:
            raise ImageFetchError(
                "URLs are not enabled; pass the picture's bytes, or ImageLoader(urls=UrlPolicy())",
                source=describe_url(name),
            )
        return EncodedImage(*read_url(name, policy=urls, max_bytes=max_bytes))
    if scheme.startswith("data:"):
        return _read_data_uri(name, max_bytes=max_bytes)
    return read_path(name, max_bytes=max_bytes)


def read_bytes(item: bytes | bytearray | memoryview, *, max_bytes: int) -> EncodedImage:
    """Return the data of a bytes-like object and its description.

    Raises:
        ImageTooLargeError: there are more than `max_bytes`.
        UnsupportedImageError: it is a memoryview that has been released.
    """
    try:
        count = item.nbytes if isinstance(item, memoryview) else len(item)
        source = describe_bytes(count)
        check_bytes(count, max_bytes=max_bytes, source=source)
        return EncodedImage(bytes(item), source)
    except ImageError:
        raise
    except ValueError as error:
        raise UnsupportedImageError("it has been released", source="memoryview") from error


def read_path(item: str | os.PathLike[str], *, max_bytes: int) -> EncodedImage:
    """Return the data of a file and its description; only regular files are opened.

    Raises:
        ImageNotFoundError: there is nothing there.
        UnsupportedImageError: a directory, a pipe, a device, or no possible path.
        ImageTooLargeError: there are more than `max_bytes`; nothing is read.
        ImageError: the file can't be read.
    """
    try:
        name = os.fsdecode(item)
    except Exception as error:  # a PathLike is the caller's own code
        raise UnsupportedImageError("not a possible path", source=type(item).__name__) from error
    source = short_text(name)
    try:
        path = Path(name)
        # Opening a pipe waits for its other end, and a device never ends: asked before, not after.
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnsupportedImageError("a directory; pass the files in it", source=source)
        if not stat.S_ISREG(status.st_mode):
            raise UnsupportedImageError("not a regular file", source=source)
        check_bytes(status.st_size, max_bytes=max_bytes, source=source)
        with path.open("rb") as file:
            return EncodedImage(_read_at_most(file, max_bytes=max_bytes, source=source), source)
    except ImageError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageNotFoundError("no such file", source=source) from error
    except PermissionError as error:
        raise ImageError("no permission to read it", source=source) from error
    except OSError as error:
        raise ImageError(f"can't be read: {error.strerror or type(error).__name__}", source=source) from error
    except ValueError as error:  # a NUL, or characters that the file system can't hold
        raise UnsupportedImageError("not a possible path", source=source) from error


def read_file(file: BinaryFile, *, max_bytes: int) -> EncodedImage:
    """Return the data of a file object and its description; the object is neither closed nor moved.

    One that can seek is read from its start, any other from where it is.

    Raises:
        UnsupportedImageError: it gives no bytes, such as a file that is open as text.
        ImageTooLargeError: there are more than `max_bytes`.
        ImageError: it can't be read.
    """
    name = getattr(file, "name", None)
    source = f"file object ({short_text(name) if isinstance(name, str) else type(file).__name__})"
    if inspect.iscoroutinefunction(file.read):
        raise UnsupportedImageError("its read() is a coroutine; pass the bytes, await file.read()", source=source)
    try:
        with lock_of(file):
            return EncodedImage(_read_and_return(file, max_bytes=max_bytes, source=source), source)
    except ImageError:
        raise
    except Exception as error:
        # A file object is the caller's own code, of any library, and may raise anything.
        raise ImageError(f"can't be read ({type(error).__name__}); is it open?", source=source) from error


def _read_and_return(file: BinaryFile, *, max_bytes: int, source: str) -> bytes:
    """Read a file object from its start, if it can seek, and put it back to its position."""
    tell, seek = getattr(file, "tell", None), getattr(file, "seek", None)
    seekable = getattr(file, "seekable", lambda: tell is not None and seek is not None)
    if tell is None or seek is None or not seekable():
        return _read_at_most(file, max_bytes=max_bytes, source=source)
    position = tell()
    try:
        seek(0)
        return _read_at_most(file, max_bytes=max_bytes, source=source)
    finally:
        seek(position)


def _read_at_most(file: BinaryFile, *, max_bytes: int, source: str) -> bytes:
    chunks: list[bytes] = []
    count = 0
    # A pipe or a socket hands out less than it is asked for; only nothing means the end.
    while count <= max_bytes and (chunk := file.read(min(max_bytes + 1 - count, _AT_ONCE))) != b"":
        if not isinstance(chunk, bytes):
            raise UnsupportedImageError(
                f"read() gave {type(chunk).__name__} instead of bytes; open the file in mode 'rb'", source=source
            )
        chunks.append(chunk)
        count += len(chunk)
    check_bytes(count, max_bytes=max_bytes, source=source)
    return b"".join(chunks)


def _read_data_uri(uri: str, *, max_bytes: int) -> EncodedImage:
    source = describe_data_uri(uri)
    comma = uri.find(",")
    if comma < 0:
        raise CorruptImageError("a data: URI needs a comma before its data", source=source)
    if not uri[:comma].lower().endswith(";base64"):
        # Three characters for each escaped byte, one for any other.
        check_bytes(len(uri) - comma - 1 - 2 * uri.count("%", comma), max_bytes=max_bytes, source=source)
        return EncodedImage(unquote_to_bytes(uri[comma + 1 :]), source)
    # Escaped, written over several lines or without the = at its end, base64 stays the same data.
    check_bytes((len(uri) - comma - 1) // 4 * 3 - 2 * uri.count("%", comma), max_bytes=4 * max_bytes, source=source)
    payload = re.sub(r"\s+", "", unquote(uri[comma + 1 :])).rstrip("=")
    check_bytes(len(payload) * 3 // 4, max_bytes=max_bytes, source=source)
    try:
        return EncodedImage(base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True), source)
    except ValueError as error:
        raise CorruptImageError("the base64 data is damaged", source=source) from error
