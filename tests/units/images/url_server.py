"""A web server on this machine that answers by a script, however badly; names; what all failures have in common."""

from __future__ import annotations

import socket
import socketserver
import ssl
import struct
import threading
import time
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeAlias

import pytest

from clip_image_encoder.errors import ImageError
from clip_image_encoder.images.url import read_url
from clip_image_encoder.images.url_policy import UrlPolicy

__all__ = [
    "HERE",
    "Clock",
    "Names",
    "Script",
    "UrlServer",
    "drip",
    "endless",
    "failure",
    "failure_of",
    "found",
    "ok",
    "reset",
    "silent",
]

HERE = UrlPolicy(private_hosts=("127.0.0.1",))

Script: TypeAlias = bytes | Callable[[socket.socket], None]


def ok(body: bytes = b"picture", *headers: str) -> bytes:
    """Return a whole answer; without a Content-Length among `headers` it has a true one."""
    length = () if any(header.startswith("Content-Length") for header in headers) else (f"Content-Length: {len(body)}",)
    return "\r\n".join(["HTTP/1.1 200 OK", *length, *headers, "", ""]).encode() + body


def found(location: str, status: int = 302) -> bytes:
    """Return a redirect."""
    return f"HTTP/1.1 {status} Elsewhere\r\nContent-Length: 0\r\nLocation: {location}\r\n\r\n".encode()


class Clock:
    """The clock of `time.monotonic`, which can be set forward: a test waits for nothing, however long a limit is."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed = 0.0
        monotonic = time.monotonic
        monkeypatch.setattr(time, "monotonic", lambda: monotonic() + self.passed)


def drip(start: bytes, clock: Clock) -> Script:
    """Send `start`, and then a byte a second, for ten minutes by the clock."""

    def send(connection: socket.socket) -> None:
        connection.sendall(start)
        for _ in range(600):
            connection.sendall(b"x")
            clock.passed += 1
            time.sleep(0.001)  # so that the client, which is a thread of this process, has its turn

    return send


def endless(start: bytes) -> Script:
    """Send `start`, and then as much as is taken, forever."""

    def send(connection: socket.socket) -> None:
        connection.sendall(start)
        while True:
            connection.sendall(b"x" * 65536)

    return send


def reset(start: bytes) -> Script:
    """Send `start` and break off."""

    def send(connection: socket.socket) -> None:
        connection.sendall(start)
        time.sleep(0.05)  # a reset overtakes what is still on its way
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()

    return send


def silent(start: bytes) -> Script:
    """Send `start`, and then nothing until the client hangs up."""

    def send(connection: socket.socket) -> None:
        connection.sendall(start)
        connection.recv(1)

    return send


def failure(url: str, policy: UrlPolicy = HERE) -> ImageError:
    """Return the error, once it is known to be clean, and nothing to be left behind."""
    threads = threading.active_count()
    with pytest.raises(ImageError) as caught:
        read_url(url, policy=policy, max_bytes=100_000)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()
    assert "secret" not in "".join(traceback.format_exception(caught.value))
    assert threading.active_count() <= threads
    return caught.value


class UrlServer:
    """Answers one connection after the other, and notes what was asked.

    Attributes:
        requests: the heads of the requests, as they came.
        port: where it listens on 127.0.0.1.
    """

    def __init__(self, scripts: dict[str, Script], *, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[str] = []
        requests = self.requests

        class Handler(socketserver.BaseRequestHandler):
            request: socket.socket

            def handle(self) -> None:
                head = b""
                self.request.settimeout(60)  # a test that fails should end as well
                try:
                    while b"\r\n\r\n" not in head:
                        received = self.request.recv(65536)
                        if not received:
                            return
                        head += received
                    requests.append(head.decode())
                    script = scripts[head.decode().split(" ")[1]]
                    if isinstance(script, bytes):
                        self.request.sendall(script)
                    else:
                        script(self.request)
                except OSError:
                    pass  # the client has had enough

        self._server = socketserver.TCPServer(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    def url(self, resource: str = "/", *, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Return a URL that leads here, if the host does."""
        return f"{scheme}://{host}:{self.port}{resource}"

    def __enter__(self) -> UrlServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class Names:
    """A resolver that knows the names it is told, and numbers.

    A name with several answers gives one after the other, and the last for good. A connection to an
    address anywhere else arrives on this machine, at `port`, or nowhere, if it begins with `black_hole`: then all the
    time that there was for it has passed on the clock.

    Attributes:
        asked: the names that were looked up.
        reached: the addresses and ports that were connected to.
        clock: what passes in black holes.
    """

    def __init__(
        self,
        monkeypatch: pytest.MonkeyPatch,
        names: dict[str, list[list[str]]],
        *,
        port: int = 9,
        black_hole: str = "nowhere",
    ) -> None:
        self.asked: list[str] = []
        self.reached: list[tuple[str, int]] = []
        self.clock = Clock(monkeypatch)
        self._answers = {name: list(answers) for name, answers in names.items()}
        self._port = port
        self._black_hole = black_hole
        self._getaddrinfo = socket.getaddrinfo
        self._create_connection = socket.create_connection
        monkeypatch.setattr(socket, "getaddrinfo", self._resolve)
        monkeypatch.setattr(socket, "create_connection", self._connect)

    def _resolve(self, host: str, port: int | None, family: int = 0, type: int = 0) -> list[Any]:  # noqa: A002
        if host not in self._answers:
            return self._getaddrinfo(host, port, family, type, flags=socket.AI_NUMERICHOST)
        self.asked.append(host)
        answers = self._answers[host]
        addresses = answers.pop(0) if len(answers) > 1 else answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]

    def _connect(
        self, address: tuple[str, int], timeout: float, source_address: tuple[str, int] | None = None
    ) -> socket.socket:
        self.reached.append(address)
        if address[0].startswith(self._black_hole):
            self.clock.passed += timeout
            raise TimeoutError
        here = address if address[0].startswith(("127.", "::1")) else ("127.0.0.1", self._port)
        return self._create_connection(here, timeout, source_address)


def failure_of(script: Script, policy: UrlPolicy = HERE) -> ImageError:
    """Return the error that an answer leads to."""
    with UrlServer({"/cat.jpg?token=secret": script}) as server:
        error = failure(server.url("/cat.jpg?token=secret#secret"), policy)
    assert error.source == "http://127.0.0.1/cat.jpg"
    return error
