"""Paths, URLs, data: URIs and file objects that lead to no image."""

from __future__ import annotations

import base64
import io
import os
import socket
from pathlib import Path

import pytest
from PIL import Image

from clip_image_encoder.errors import (
    CorruptImageError,
    ImageError,
    ImageFetchError,
    ImageNotFoundError,
    UnsupportedImageError,
)
from clip_image_encoder.images import ImageLoader
from clip_image_encoder.images.encoded import read_path

LOADER = ImageLoader()


def png() -> bytes:
    buffer = io.BytesIO()
    Image.effect_noise((31, 22), 100).save(buffer, "PNG")
    return buffer.getvalue()


PNG = png()
# The order of a status's fields.
_STATUS = ("st_mode", "st_ino", "st_dev", "st_nlink", "st_uid", "st_gid", "st_size", "st_atime", "st_mtime", "st_ctime")


def failure(item: object) -> ImageError:
    with pytest.raises(ImageError) as caught:
        LOADER(item)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    return caught.value


def test_a_missing_path_is_not_found(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for item in (tmp_path / "missing.png", str(tmp_path / "missing.png"), tmp_path / "file" / "below.png"):
        error = failure(item)
        assert type(error) is ImageNotFoundError
        assert isinstance(error, FileNotFoundError)


def test_a_directory_is_unsupported(tmp_path: Path) -> None:
    for item in (tmp_path, str(tmp_path)):
        assert "directory" in failure(item).reason


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes with a name here")
def test_pipes_devices_and_sockets_are_refused_without_opening_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        monkeypatch.chdir(tmp_path)  # a socket's whole path may be too long
        monkeypatch.setattr(os, "open", None)  # opening the pipe would wait forever
        listener.bind("socket")
        for item in (tmp_path / "pipe", tmp_path / "socket", "/dev/zero"):
            error = failure(item)
            assert type(error) is UnsupportedImageError
            assert "not a regular file" in error.reason


def test_a_file_without_permission_is_an_image_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, flags: int) -> None:
        raise PermissionError(13, "Permission denied")

    path = tmp_path / "secret.png"
    path.write_bytes(PNG)
    monkeypatch.setattr(os, "open", refuse)  # a superuser's tests can read everything
    assert "no permission" in failure(path).reason


@pytest.mark.parametrize("told", [0, len(PNG) - 1, len(PNG) + 1])
def test_a_file_of_another_size_than_its_system_tells_is_read_whole(
    told: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As files in /proc are, and such that another program writes meanwhile."""
    path = tmp_path / "cat.png"
    path.write_bytes(PNG)
    status = path.stat()
    fields = [told if name == "st_size" else getattr(status, name) for name in _STATUS]
    monkeypatch.setattr(Path, "stat", lambda path: os.stat_result(fields))
    assert read_path(path, max_bytes=2 * len(PNG)).data == PNG


@pytest.mark.parametrize("path", ["", "a\0b", "x" * 5000, "a/" * 5000, "\ud800.png", "a\nb.png", "\x1b[31m.png"])
def test_an_impossible_path_is_an_image_error(path: str) -> None:
    for item in (path, Path(path)):
        assert len(failure(item).source) <= 120


def test_a_path_whose_fspath_fails_is_an_image_error() -> None:
    class Broken(os.PathLike[str]):
        def __fspath__(self) -> str:
            raise RuntimeError("no")

    failure(Broken())


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("http://example.org/cat.jpg", "http://example.org/cat.jpg"),
        ("HTTPS://example.org/cat.jpg?token=secret#secret", "https://example.org/cat.jpg"),
        ("https://user:secret@example.org:8080/cat.jpg", "https://example.org/cat.jpg"),
        ("https://user:sec/ret@example.org/cat.jpg", "https URL"),
        ("https://user:sec?secret@example.org/cat.jpg", "https URL"),
        ("https://user:sec#secret@example.org/cat.jpg", "https URL"),
        ("http://[secret", "http URL"),
        ("http://", "http URL"),
    ],
)
def test_a_url_is_refused_and_shown_without_secrets(url: str, source: str) -> None:
    error = failure(url)
    assert type(error) is ImageFetchError
    assert error.source == source
    assert "not enabled" in error.reason
    assert "secret" not in str(error)


@pytest.mark.parametrize(
    "uri", ["data:", "data:image/png;base64", "data:;base64,!!!!", "data:;base64,AAAAA", "data:;base64,é"]
)
def test_a_damaged_data_uri_is_corrupt_and_does_not_show_its_payload(uri: str) -> None:
    error = failure(uri)
    assert type(error) is CorruptImageError
    assert error.source in ("data URI", "data URI (image/png)")


def test_a_data_uri_without_a_comma_does_not_show_its_payload() -> None:
    payload = base64.b64encode(PNG).decode()
    assert payload[:20] not in str(failure(f"data:{payload}"))
    assert payload[:20] not in str(failure(f"data:image/{payload},"))


def test_base64_with_a_wrong_character_is_not_repaired() -> None:
    payload = base64.b64encode(PNG).decode()
    assert "base64" in failure(f"data:;base64,{payload[:40]}!{payload[40:]}").reason


def test_base64_over_several_lines_is_read() -> None:
    assert LOADER("data:image/png;base64,\n" + base64.encodebytes(PNG).decode()).size == (31, 22)


def test_a_file_object_that_fails_is_an_image_error(tmp_path: Path) -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise RuntimeError("no")

    class Waiting:
        def read(self, size: int) -> None:
            return None

    closed = io.BytesIO(PNG)
    closed.close()
    for item in (Broken(), closed):
        assert "can't be read" in failure(item).reason
    for text in (io.StringIO("text"), Waiting()):
        assert type(failure(text)) is UnsupportedImageError
    assert "'rb'" in failure(io.StringIO("text")).reason


def test_a_released_memoryview_is_an_image_error() -> None:
    view = memoryview(b"abc")
    view.release()
    failure(view)
