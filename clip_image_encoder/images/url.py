"""http(s) URLs: which are asked for, how long, and where a redirect may lead."""

from __future__ import annotations

import re
import string
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin, urlsplit

from clip_image_encoder.errors import ConfigurationError, ImageError, ImageFetchError, MissingExtraError
from clip_image_encoder.images.addresses import canonical_host
from clip_image_encoder.images.describe import describe_url

if TYPE_CHECKING:
    from clip_image_encoder.images.download import Moved

__all__ = ["Target", "UrlPolicy", "read_url"]

_LONGEST = 8192
_LONGEST_WAIT = 86_400.0
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<address>[0-9a-f]*:[0-9a-f:.]*)\]|(?P<name>[^:\[\]]+))(?::(?P<port>[0-9]{0,5}))?", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class UrlPolicy:
    """What a loader may fetch from the network, and how long it may take.

    Only hosts on the public internet are asked: every address of a name is checked, at every redirect
    anew, and the connection goes to an address that was checked. Proxies in the environment are ignored.
    TLS certificates are verified; the environment variables SSL_CERT_FILE and SSL_CERT_DIR hold.

    Args:
        private_hosts: hosts whose addresses are not checked, as they stand in a URL, without a port:
            `("pictures.intranet", "10.0.0.5", "::1")`.
        connect_timeout: seconds to find and reach a host, and again to agree on TLS; for each redirect.
        read_timeout: seconds in which some data must arrive.
        total_timeout: seconds until the picture must be here, redirects included.
        max_redirects: of one URL, at most. None leads from https to http.

    Raises:
        ConfigurationError: an argument is out of its range.
        MissingExtraError: the HTTP client is not installed.

    Example:
        >>> policy = UrlPolicy(private_hosts=("pictures.intranet",), total_timeout=20.0)
        >>> read_url("http://10.0.0.5/", policy=policy, max_bytes=10_000_000)
        Traceback (most recent call last):
            ...
        clip_image_encoder.errors.ImageFetchError: http://10.0.0.5/: its host is not public; private_hosts may allow it
    """

    private_hosts: tuple[str, ...] = ()
    connect_timeout: float = 10.0
    read_timeout: float = 10.0
    total_timeout: float = 60.0
    max_redirects: int = 5

    def __post_init__(self) -> None:
        if not _are_hosts(self.private_hosts):
            raise ConfigurationError(
                f"private_hosts must be a tuple of hosts without scheme and port, not {self.private_hosts!r}"
            )
        for name in ("connect_timeout", "read_timeout", "total_timeout"):
            seconds = getattr(self, name)
            if not _is_number(seconds, int, float) or not 0 < seconds <= _LONGEST_WAIT:
                raise ConfigurationError(f"{name} must be seconds, more than 0 and at most a day, not {seconds!r}")
        if not _is_number(self.max_redirects, int) or self.max_redirects < 0:
            raise ConfigurationError(f"max_redirects must be an integer from 0, not {self.max_redirects!r}")
        _find_fetch()


@dataclass(frozen=True, kw_only=True)
class Target:
    """A URL that may be asked for, in parts that are not parsed a second time.

    Attributes:
        url: as it was written.
        source: `url` for errors, without secrets.
        scheme: "http" or "https".
        host: in its canonical spelling.
        port: 1..65535.
        resource: path and query, in ASCII.
    """

    url: str
    source: str
    scheme: str
    host: str
    port: int
    resource: str

    @property
    def authority(self) -> str:
        """Host and port as the Host header wants them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def read_url(url: str, *, policy: UrlPolicy, max_bytes: int) -> tuple[bytes, str]:
    """Return what a URL leads to and its description.

    Args:
        url: http:// or https://, without user and password.
        policy: what may be asked, and how long it may take.
        max_bytes: of the body, at most; it is not read further.

    Raises:
        ImageFetchError: the URL or a redirect is refused, or its server did not deliver.
        ImageTooLargeError: there are more than `max_bytes`.
        MissingExtraError: the HTTP client is not installed.
    """
    fetch = _find_fetch()
    ends = time.monotonic() + policy.total_timeout
    target = _target(url)
    source = target.source
    try:
        for _ in range(policy.max_redirects + 1):
            answer = fetch(target, policy=policy, max_bytes=max_bytes, ends=ends)
            if isinstance(answer, bytes):
                return answer, source
            target = _follow(target, answer)
    except ImageError as error:
        if error.source == source:
            raise
        # The first URL is the one that its sender knows.
        reason = f"it redirects to {error.source}: {error.reason}"
        raise type(error)(reason, source=source) from error.__cause__
    raise ImageFetchError(f"more than max_redirects={policy.max_redirects} redirects", source=source)


def _target(url: str) -> Target:
    """Take a URL apart, strictly: whatever two programs could read in two ways is refused."""
    source = describe_url(url) if url[:8].lower().startswith(("http://", "https://")) else "URL"
    if source == "URL":
        raise ImageFetchError("only http:// and https:// are fetched", source=source)
    if len(url) > _LONGEST:
        raise ImageFetchError(f"longer than {_LONGEST:,} characters", source=source)
    if not url.isprintable() or " " in url or "\\" in url:
        raise ImageFetchError(
            "white space, control characters and \\ must be written as %20 and the like", source=source
        )
    try:
        parts = urlsplit(url)
    except ValueError:  # which quotes the password
        raise ImageFetchError("its host is not valid", source=source) from None
    if "@" in parts.netloc:
        raise ImageFetchError("a user or password in a URL is not sent; remove what stands before the @", source=source)
    match = _HOST_AND_PORT.fullmatch(parts.netloc)
    host = canonical_host(match["address"] or match["name"]) if match else None
    if match is None or host is None:
        raise ImageFetchError("its host is not valid; if it is not in ASCII, write it as xn--", source=source)
    port = int(match["port"] or _DEFAULT_PORTS[parts.scheme])
    if not 1 <= port <= 65535:
        raise ImageFetchError("its port is not in 1..65535", source=source)
    resource = quote(f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", safe=string.punctuation)
    return Target(url=url, source=source, scheme=parts.scheme, host=host, port=port, resource=resource)


def _follow(target: Target, moved: Moved) -> Target:
    try:
        location = urljoin(target.url, moved.location.decode())
    except ValueError:  # which quotes the location
        location = ""
    if not moved.location or not location:
        raise ImageFetchError("its server redirects to nowhere", source=target.source)
    there = _target(location)
    if target.scheme == "https" and there.scheme == "http":
        raise ImageFetchError("a redirect from https to http is not followed", source=there.source)
    return there


def _find_fetch() -> Callable[..., bytes | Moved]:
    try:
        from clip_image_encoder.images.download import fetch
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"URLs need {error.name}: python -m pip install 'clip-image-encoder[urls]'") from error
    return fetch


def _are_hosts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(host, str) and canonical_host(host) for host in value)


def _is_number(value: object, *types: type) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)
