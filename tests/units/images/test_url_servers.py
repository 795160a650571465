"""Servers that deliver too much, too little, too slowly or nonsense."""

from __future__ import annotations

import dataclasses
import socket
import time

import pytest

from clip_image_encoder.errors import ImageFetchError, ImageTooLargeError
from clip_image_encoder.images.url import read_url

from .url_server import (
    HERE,
    Clock,
    Names,
    Script,
    UrlServer,
    drip,
    endless,
    failure,
    failure_of,
    found,
    ok,
    reset,
    silent,
)

HURRIED = dataclasses.replace(HERE, total_timeout=0.3)


@pytest.mark.parametrize("status", [201, 204, 206, 300, 304, 401, 404, 500, 599])
def test_any_status_but_200_is_named(status: int) -> None:
    error = failure_of(f"HTTP/1.1 {status} secret\r\nContent-Length: 0\r\n\r\n".encode())
    assert type(error) is ImageFetchError
    assert error.reason.startswith(f"its server answered {status}")


@pytest.mark.parametrize("encoding", ["gzip", "br", "GZIP, gzip", "unheard-of"])
def test_a_compressed_answer_is_refused_before_it_could_swell(encoding: str) -> None:
    assert "compressed" in failure_of(endless(ok(b"", f"Content-Encoding: {encoding}", "Content-Length: 9000"))).reason


def test_a_compressed_transfer_is_refused() -> None:
    assert "HTTP" in failure_of(endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n")).reason


@pytest.mark.parametrize(
    "start",
    [
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffff\r\n",
    ],
)
def test_an_endless_body_is_read_up_to_max_bytes(start: bytes) -> None:
    error = failure_of(endless(start))
    assert type(error) is ImageTooLargeError
    assert "max_bytes=100,000" in error.reason


def test_a_body_of_exactly_max_bytes_is_read() -> None:
    with UrlServer({"/": ok(b"x" * 1000), "/closed": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000}) as server:
        for resource in ("/", "/closed"):
            assert len(read_url(server.url(resource), policy=HERE, max_bytes=1000)[0]) == 1000
            with pytest.raises(ImageTooLargeError):
                read_url(server.url(resource), policy=HERE, max_bytes=999)


def test_a_declared_length_beyond_max_bytes_is_refused_before_the_body() -> None:
    assert type(failure_of(endless(b"HTTP/1.1 200 OK\r\nContent-Length: 100001\r\n\r\n"))) is ImageTooLargeError


def test_a_body_longer_than_declared_ends_where_it_was_declared() -> None:
    with UrlServer({"/": ok(b"picture and more", "Content-Length: 7")}) as server:
        assert read_url(server.url(), policy=HERE, max_bytes=100)[0] == b"picture"


@pytest.mark.parametrize("length", ["8", "-1", "secret", "7, 8", "9" * 5000])
def test_a_body_shorter_than_declared_and_a_senseless_length_are_refused(length: str) -> None:
    assert "closed the connection early" in failure_of(ok(b"picture", f"Content-Length: {length}")).reason


@pytest.mark.parametrize(
    "script",
    [
        b"",
        b"secret\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nsecret",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsecret\r\n",
        endless(b"HTTP/1.1 200 OK\r\nA: "),
        reset(b""),
        reset(b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\nsecret"),
    ],
    ids=["nothing", "no HTTP", "half a head", "no chunk", "endless head", "reset", "reset in mid-body"],
)
def test_a_server_that_breaks_off_or_speaks_no_http_is_a_fetch_error(script: Script) -> None:
    error = failure_of(script)
    assert type(error) is ImageFetchError
    assert "closed the connection early" in error.reason


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nA: ",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffff\r\n",
    ],
    ids=["before the head", "in the head", "in the body", "in a chunk"],
)
def test_a_slow_drip_ends_at_total_timeout(start: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    assert "total_timeout=60 seconds" in failure_of(drip(start, clock)).reason
    assert 60 <= clock.passed < 600


def test_a_silent_server_ends_at_total_timeout_if_that_is_sooner() -> None:
    began = time.monotonic()
    patient = dataclasses.replace(HURRIED, read_timeout=60.0)
    assert "total_timeout=0.3 seconds" in failure_of(silent(b""), patient).reason
    assert time.monotonic() - began < 60


def test_slow_redirects_share_one_total_timeout() -> None:
    def slow(connection: socket.socket) -> None:
        time.sleep(0.05)
        connection.sendall(found("/cat.jpg?token=secret"))

    assert "total_timeout=0.3 seconds" in failure_of(slow, dataclasses.replace(HURRIED, max_redirects=1000)).reason


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\n\r\npic"])
def test_a_silent_server_ends_at_read_timeout(start: bytes) -> None:
    error = failure_of(silent(start), dataclasses.replace(HERE, read_timeout=0.1))
    assert "read_timeout=0.1 seconds" in error.reason


def test_a_host_that_does_not_listen_is_a_fetch_error() -> None:
    with UrlServer({}) as server:
        url = server.url()
    assert "can't be reached" in failure(url).reason


def test_nothing_is_connected_to_after_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(monkeypatch, {})
    assert "total_timeout" in failure("http://127.0.0.1/", dataclasses.replace(HERE, total_timeout=1e-9)).reason
    assert names.reached == []


def test_a_connection_that_stands_too_late_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = socket.create_connection
    connections: list[socket.socket] = []
    clock = Clock(monkeypatch)

    def late(address: tuple[str, int], timeout: float, source_address: tuple[str, int] | None) -> socket.socket:
        connections.append(connect(address, timeout, source_address))
        clock.passed += 61
        return connections[0]

    monkeypatch.setattr(socket, "create_connection", late)
    for scheme in ("http", "https"):
        with UrlServer({}) as server:
            error = failure(server.url(scheme=scheme))
        assert "total_timeout=60" in error.reason
        assert connections.pop().fileno() == -1
