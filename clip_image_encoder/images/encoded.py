"""Reading of encoded images: paths, bytes, file objects, data: URIs and URLs become bytes."""

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

# Bytes of one read(): Python's files allocate as many bytes as they are asked for, before they read.
_AT_ONCE = 2**24


@dataclass(frozen=True)
class EncodedImage:
    """The content of an image file, not decoded yet, whichever way it arrived.

    Attributes:
        data: Content of the whole file.
        source: Short description of the input, for error messages.
    """

    data: bytes
    source: str


class BinaryFile(Protocol):
    """An object with a `read` that returns bytes: an open file, a BytesIO, a member of an archive, a response."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; no bytes at the end of the file."""
        ...


def read_named(name: str, *, urls: UrlPolicy | None, max_bytes: int) -> EncodedImage:
    """Read the file that a str names: a path, a data: URI, or an http(s) URL.

    Args:
        name: Path, URI or URL.
        urls: Policy for URLs; None refuses every URL.
        max_bytes: Largest allowed size of the file, in bytes.

    Raises:
        ImageFetchError: It is an http(s) URL that is not allowed, or its server did not deliver.
        ImageError: The file can't be read, as `read_path` says; or the URI is damaged or too long.
    """
    scheme = name[:8].lower()
    if scheme.startswith(("http://", "https://")):
        if urls is None:
            raise ImageFetchError(
                "URLs are not enabled; pass the bytes of the image, or ImageLoader(urls=UrlPolicy())",
                source=describe_url(name),
            )
        return EncodedImage(*read_url(name, policy=urls, max_bytes=max_bytes))
    if scheme.startswith("data:"):
        return _read_data_uri(name, max_bytes=max_bytes)
    return read_path(name, max_bytes=max_bytes)


def read_bytes(item: bytes | bytearray | memoryview, *, max_bytes: int) -> EncodedImage:
    """Return the content of a bytes-like object, with its description.

    Raises:
        ImageTooLargeError: The object has more than `max_bytes` bytes.
        UnsupportedImageError: It is a memoryview that has been released.
    """
    try:
        count = item.nbytes if isinstance(item, memoryview) else len(item)
        source = describe_bytes(count)
        check_bytes(count, max_bytes=max_bytes, source=source)
        return EncodedImage(bytes(item), source)
    except ImageError:
        raise
    except ValueError as error:
        raise UnsupportedImageError(
            "it has been released; pass it before its release()", source="memoryview"
        ) from error


def read_path(item: str | os.PathLike[str], *, max_bytes: int) -> EncodedImage:
    """Read the file at a path; only regular files are opened.

    Raises:
        ImageNotFoundError: There is no file at the path.
        UnsupportedImageError: The path leads to a directory, a pipe or a device, or no file can have it.
        ImageTooLargeError: The file has more than `max_bytes` bytes, of which none is read.
        ImageError: The file can't be read.
    """
    try:
        name = os.fsdecode(item)
    except Exception as error:  # a PathLike is the caller's own code
        raise UnsupportedImageError("its path can't be read as text", source=type(item).__name__) from error
    source = short_text(name)
    try:
        path = Path(name)
        # Checked before opening: to open a pipe waits for its other end, and a device has no end.
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UnsupportedImageError("a directory; pass the files in it", source=source)
        if not stat.S_ISREG(status.st_mode):
            raise UnsupportedImageError("not a regular file", source=source)
        check_bytes(status.st_size, max_bytes=max_bytes, source=source)
        return EncodedImage(_read_regular(path, size=status.st_size, max_bytes=max_bytes, source=source), source)
    except ImageError:
        raise
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ImageNotFoundError("no such file", source=source) from error
    except PermissionError as error:
        raise ImageError("no permission to read it", source=source) from error
    except OSError as error:
        raise ImageError(f"can't be read: {error.strerror or type(error).__name__}", source=source) from error
    except ValueError as error:  # a NUL, or characters that the file system can't hold
        raise UnsupportedImageError("no file can have this path", source=source) from error


def read_file(file: BinaryFile, *, max_bytes: int) -> EncodedImage:
    """Read a file object, which stays open; one that can seek gets its position back.

    A file object that can seek is read from its start, any other from its current position.

    Raises:
        UnsupportedImageError: Its `read` returns something else than bytes, as that of a text file does.
        ImageTooLargeError: It has more than `max_bytes` bytes.
        ImageError: It can't be read.
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


def _read_regular(path: Path, *, size: int, max_bytes: int, source: str) -> bytes:
    """Return the content of a regular file whose status said `size` bytes.

    In three calls to the system, since Python's lock is released and taken again around each of them: with many threads
    that load images, they wait for it. Python's own files take eight.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        data = os.read(descriptor, size + 1)
    finally:
        os.close(descriptor)
    if len(data) == size:
        return data
    # The file has changed since, its system tells no sizes, or it is larger than what a system reads in one call.
    with path.open("rb") as file:
        return _read_at_most(file, max_bytes=max_bytes, source=source)


def _read_and_return(file: BinaryFile, *, max_bytes: int, source: str) -> bytes:
    """Read a file object, from its start if it can seek, and set it back to its position."""
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
    # A pipe or a socket may return fewer bytes than asked for; only no bytes mean the end.
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
    # RFC 2397: data:[<media type>][;base64],<data>
    source = describe_data_uri(uri)
    comma = uri.find(",")
    if comma < 0:
        raise CorruptImageError("a data: URI needs a comma before its data", source=source)
    if not uri[:comma].lower().endswith(";base64"):
        # A percent-escaped byte takes three characters, any other byte one.
        check_bytes(len(uri) - comma - 1 - 2 * uri.count("%", comma), max_bytes=max_bytes, source=source)
        return EncodedImage(unquote_to_bytes(uri[comma + 1 :]), source)
    # Base64 is accepted percent-escaped, with line breaks, and without the padding (=) at its end.
    check_bytes((len(uri) - comma - 1) // 4 * 3 - 2 * uri.count("%", comma), max_bytes=4 * max_bytes, source=source)
    payload = re.sub(r"\s+", "", unquote(uri[comma + 1 :])).rstrip("=")
    check_bytes(len(payload) * 3 // 4, max_bytes=max_bytes, source=source)
    try:
        return EncodedImage(base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True), source)
    except ValueError as error:
        raise CorruptImageError("the base64 data is damaged", source=source) from error
