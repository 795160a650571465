"""The http(s) URLs that may be fetched, and strict parsing of a URL into its parts."""

from __future__ import annotations

import re
import string
from dataclasses import dataclass
from importlib.util import find_spec
from urllib.parse import quote, urlsplit

from clip_image_encoder._arguments import check_count, check_duration
from clip_image_encoder.errors import ConfigurationError, ImageFetchError, MissingExtraError
from clip_image_encoder.images.addresses import canonical_host
from clip_image_encoder.images.describe import describe_url

__all__ = ["Target", "UrlPolicy", "check_http_client"]

_LONGEST = 8192
_DEFAULT_PORTS = {"http": 80, "https": 443}
_HOST_AND_PORT = re.compile(
    r"(?:\[(?P<address>[0-9a-f]*:[0-9a-f:.]*)\]|(?P<name>[^:\[\]]+))(?::(?P<port>[0-9]{0,5}))?", re.IGNORECASE
)


@dataclass(frozen=True, kw_only=True)
class UrlPolicy:
    """Says what an `ImageLoader` may fetch from the network, and how long that may take.

    Only hosts on the public internet are contacted: every address of a host name is checked, again at each
    redirect, and the connection goes to a checked address. Proxies in the environment are ignored. TLS
    certificates are verified; the environment variables SSL_CERT_FILE and SSL_CERT_DIR are respected.

    Args:
        private_hosts: Hosts whose addresses are not checked, written as in a URL, without a port:
            `("images.intranet", "10.0.0.5", "::1")`.
        connect_timeout: Seconds to resolve and connect to a host, and the same again for TLS; they are counted
            for each redirect.
        read_timeout: Seconds to wait for the next data of a response.
        total_timeout: Seconds for a whole image, with all redirects.
        max_redirects: Largest number of redirects of one URL. A redirect from https to http is never followed.

    Raises:
        ConfigurationError: An argument is out of its range.
        MissingExtraError: The HTTP client is not installed.

    Example:
        >>> from clip_image_encoder import ImageLoader, UrlPolicy
        >>> loader = ImageLoader(urls=UrlPolicy(private_hosts=("images.intranet",), total_timeout=20.0))
        >>> loader("http://10.0.0.5/")
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
            seconds = check_duration(getattr(self, name), name=name, unit="seconds", may_be_0=False)
            object.__setattr__(self, name, seconds)
        object.__setattr__(self, "max_redirects", check_count(self.max_redirects, name="max_redirects", least=0))
        check_http_client()


@dataclass(frozen=True, kw_only=True)
class Target:
    """A URL that may be fetched, and its parts, which nothing parses a second time.

    Attributes:
        url: The URL as it was written.
        source: The URL for error messages, without parts that may be secret.
        scheme: "http" or "https".
        host: Canonical spelling of the host, as `canonical_host` returns it.
        port: Number of the port, 1..65535.
        resource: Path and query, percent-encoded ASCII.
    """

    url: str
    source: str
    scheme: str
    host: str
    port: int
    resource: str

    @classmethod
    def of(cls, url: str) -> Target:
        """Parse a URL strictly: spellings that two programs could read in two ways are refused.

        Raises:
            ImageFetchError: The URL may not be fetched.
        """
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
            raise ImageFetchError(
                "a user or password in a URL is not sent; remove what stands before the @", source=source
            )
        match = _HOST_AND_PORT.fullmatch(parts.netloc)
        host = canonical_host(match["address"] or match["name"]) if match else None
        if match is None or host is None:
            raise ImageFetchError("its host is not valid; if it is not in ASCII, write it as xn--", source=source)
        port = int(match["port"] or _DEFAULT_PORTS[parts.scheme])
        if not 1 <= port <= 65535:
            raise ImageFetchError("its port is not in 1..65535", source=source)
        resource = quote(f"{parts.path or '/'}{'?' if parts.query else ''}{parts.query}", safe=string.punctuation)
        return cls(url=url, source=source, scheme=parts.scheme, host=host, port=port, resource=resource)

    @property
    def authority(self) -> str:
        """Value of the Host header: the host, and the port unless it is the default one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"


def check_http_client() -> None:
    """Check that the HTTP client is installed, without loading it.

    Raises:
        MissingExtraError: The client, httpcore2, is not installed.
    """
    if find_spec("httpcore2") is None:
        raise MissingExtraError("URLs need httpcore2: python -m pip install 'clip-image-encoder[urls]'")


def _are_hosts(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(host, str) and canonical_host(host) for host in value)
