"""One HTTP GET over one connection, to checked addresses only and within the time of the policy.

httpcore2 fits because it follows no redirects, uses no proxies, and lets its caller open the connection. No other
file imports it.
"""

from __future__ import annotations

import io
import ssl
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from typing import Any

import httpcore2

from clip_image_encoder.errors import ImageFetchError
from clip_image_encoder.images.addresses import canonical_host, is_public, resolve
from clip_image_encoder.images.limits import check_bytes
from clip_image_encoder.images.url_policy import Target, UrlPolicy

__all__ = ["Moved", "fetch"]

_REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Moved:
    """A redirect of a server: the image is at `location`, the value of the header as it was sent."""

    location: bytes


def fetch(target: Target, *, policy: UrlPolicy, max_bytes: int, ends: float) -> bytes | Moved:
    """Send one request, and return the body of the response, or the redirect.

    Args:
        target: URL to fetch.
        policy: Hosts that may be private, and how long to wait.
        max_bytes: Largest allowed size of the body, in bytes.
        ends: Time to give up, in seconds on the clock of `time.monotonic`.

    Raises:
        ImageFetchError: The host is not public, or did not deliver in time.
        ImageTooLargeError: The body has more than `max_bytes` bytes.
    """
    url = httpcore2.URL(
        scheme=target.scheme.encode(), host=target.host.encode(), port=target.port, target=target.resource.encode()
    )
    headers: dict[bytes | str, bytes | str] = {
        "Host": target.authority,
        "User-Agent": "clip-image-encoder",
        "Accept": "*/*",
        "Accept-Encoding": "identity",
        "Connection": "close",
    }
    timeouts = {"connect": policy.connect_timeout, "read": policy.read_timeout, "write": policy.read_timeout}
    connection = httpcore2.HTTPConnection(
        url.origin,
        ssl_context=_THREAD.tls_context if target.scheme == "https" else None,
        network_backend=_CheckedNetwork(target, policy=policy, ends=ends),
    )
    try:
        with connection, connection.stream("GET", url, headers=headers, extensions={"timeout": timeouts}) as response:
            return _read(response, max_bytes=max_bytes, source=target.source)
    except httpcore2.TimeoutException as error:
        raise ImageFetchError(_what_took_long(error, policy, ends), source=target.source) from error
    except httpcore2.NetworkError as error:
        raise ImageFetchError(_what_broke(error), source=target.source) from error
    except httpcore2.ProtocolError:  # its message quotes what the server sent
        raise ImageFetchError(
            "its server closed the connection early, or does not speak HTTP", source=target.source
        ) from None


def _read(response: httpcore2.Response, *, max_bytes: int, source: str) -> bytes | Moved:
    headers = {name.lower(): value for name, value in response.headers}
    if response.status in _REDIRECTS:
        return Moved(headers.get(b"location", b""))
    if response.status != HTTPStatus.OK:
        raise ImageFetchError(f"its server answered {_name_of(response.status)}", source=source)
    if headers.get(b"content-encoding", b"identity").lower() != b"identity":
        raise ImageFetchError("its server sends compressed data, though it was asked for plain data", source=source)
    check_bytes(int(headers.get(b"content-length", b"0")), max_bytes=max_bytes, source=source)
    body = io.BytesIO()  # a list takes fifty bytes more for each chunk, and a chunk may be one byte
    for chunk in response.iter_stream():
        body.write(chunk)
        check_bytes(body.tell(), max_bytes=max_bytes, source=source)
    return body.getvalue()


def _name_of(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}" if status in HTTPStatus._value2member_map_ else str(status)


def _what_took_long(error: Exception, policy: UrlPolicy, ends: float) -> str:
    if time.monotonic() >= ends:
        return f"not fetched within total_timeout={policy.total_timeout:g} seconds"
    if isinstance(error, httpcore2.ConnectTimeout):
        return f"its host did not answer within connect_timeout={policy.connect_timeout:g} seconds"
    return f"its server was silent for read_timeout={policy.read_timeout:g} seconds"


def _what_broke(error: Exception) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of its host is not valid ({cause.verify_message.rstrip('.')})"
    if isinstance(cause, ssl.SSLError):
        return "TLS with its host failed; is it http instead of https?"
    if isinstance(error, httpcore2.ConnectError):
        return "its host can't be reached"
    return "its server closed the connection early"


def _within(seconds: float | None, ends: float) -> float:
    """Return the number of seconds, or of those left until `ends` if they are fewer."""
    left = ends - time.monotonic()
    if left <= 0:
        raise httpcore2.ConnectTimeout  # after connecting, `ends` is that of total_timeout: `_what_took_long` says so
    return left if seconds is None else min(seconds, left)


class _CheckedNetwork(httpcore2.NetworkBackend):
    """Resolves a host name, checks its addresses, and connects to one of those, without resolving the name again."""

    def __init__(self, target: Target, *, policy: UrlPolicy, ends: float) -> None:
        self._target = target
        self._private = target.host in map(canonical_host, policy.private_hosts)
        self._ends = ends
        self._network = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore2.SOCKET_OPTION] | None = None,
    ) -> httpcore2.NetworkStream:
        ends = time.monotonic() + _within(timeout, self._ends)
        addresses = self._addresses(host, ends)
        # Each address gets an equal share of the time left, since the first may never answer.
        for others, address in reversed(list(enumerate(reversed(addresses)))):
            share = _within(None, ends) / (others + 1)
            try:
                stream = self._network.connect_tcp(address, port, share, local_address, socket_options)
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout):
                if not others:
                    raise
            else:
                return _TimedStream(stream, ends=self._ends)
        raise httpcore2.ConnectError

    def _addresses(self, host: str, ends: float) -> list[str]:
        try:
            addresses = resolve(host, timeout=_within(None, ends))
        except TimeoutError as error:
            raise httpcore2.ConnectTimeout from error
        except OSError as error:
            raise ImageFetchError(
                "its host name is not known; check its spelling", source=self._target.source
            ) from error
        # The message does not name the addresses: the sender of the URL may see it, and must not learn them.
        if not self._private and not all(map(is_public, addresses)):
            raise ImageFetchError("its host is not public; private_hosts may allow it", source=self._target.source)
        return addresses


class _TimedStream(httpcore2.NetworkStream):
    """A connection whose waits, added up, end with the time of the policy."""

    def __init__(self, stream: httpcore2.NetworkStream, *, ends: float) -> None:
        self._stream = stream
        self._ends = ends

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, _within(timeout, self._ends))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, _within(timeout, self._ends))

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        try:
            stream = self._stream.start_tls(ssl_context, server_hostname, _within(timeout, self._ends))
        except BaseException:
            self.close()  # httpcore2 closes a connection only after its TLS handshake
            raise
        return _TimedStream(stream, ends=self._ends)

    def close(self) -> None:
        self._stream.close()

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)


class _OfThread(threading.local):
    """State that each thread has for itself."""

    @cached_property
    def tls_context(self) -> ssl.SSLContext:
        # Kept, since reading the system's certificates takes 50 ms. Not shared by threads, since httpcore2
        # changes the context at each connection while OpenSSL copies it without a lock.
        return httpcore2.default_ssl_context()


_THREAD = _OfThread()
