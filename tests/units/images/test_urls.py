"""What a URL delivers, where redirects lead, and what a policy may say."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from clip_image_encoder.errors import (
    ConfigurationError,
    ImageTooLargeError,
    MissingExtraError,
)
from clip_image_encoder.images.url import read_url
from clip_image_encoder.images.url_policy import UrlPolicy

from .url_server import HERE, Script, UrlServer, failure, failure_of, found, ok


def read(url: str, policy: UrlPolicy = HERE) -> bytes:
    return read_url(url, policy=policy, max_bytes=100_000)[0]


def test_a_url_delivers_its_body_and_is_described_without_its_query() -> None:
    with UrlServer({"/cat.jpg?token=secret": ok(b"picture")}) as server:
        body, source = read_url(server.url("/cat.jpg?token=secret#part"), policy=HERE, max_bytes=7)
    assert body == b"picture"
    assert source == "http://127.0.0.1/cat.jpg"


def test_a_request_asks_for_the_plain_file_and_says_nothing_else() -> None:
    with UrlServer({"/": ok()}) as server:
        read(server.url())
    line, *headers, _, _ = server.requests[0].split("\r\n")
    assert line == "GET / HTTP/1.1"
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        "Accept: */*",
        "Connection: close",
        f"Host: 127.0.0.1:{server.port}",
        "User-Agent: clip-image-encoder",
    ]


def test_a_path_and_a_query_arrive_as_they_are_written_and_in_ascii() -> None:
    with UrlServer({"/a%20b/%C3%BC/@1.0;x?q=%C3%BC&r=%2F+": ok(b"one"), "/?q": ok(b"two")}) as server:
        assert read(server.url("/a%20b/ü/@1.0;x?q=ü&r=%2F+")) == b"one"
        assert read(server.url("?q")) == b"two"


def test_bodies_in_chunks_and_bodies_that_end_with_the_connection_are_whole() -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\npic\r\n4\r\nture\r\n0\r\n\r\n"
    with UrlServer({"/chunked": chunked, "/closed": b"HTTP/1.0 200 OK\r\n\r\npicture"}) as server:
        assert read(server.url("/chunked")) == read(server.url("/closed")) == b"picture"


def test_proxies_in_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with UrlServer({"/": ok()}) as server:
        assert read(server.url()) == b"picture"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed_from_where_they_are(status: int) -> None:
    scripts: dict[str, Script] = {"/a/b": found("../c?d", status), "/c?d": found("//127.0.0.1:PORT/e#f"), "/e": ok()}
    with UrlServer(scripts) as server:
        scripts["/c?d"] = found(f"//127.0.0.1:{server.port}/e#f", status)
        body, source = read_url(server.url("/a/b"), policy=HERE, max_bytes=100)
    assert body == b"picture"
    assert source == "http://127.0.0.1/a/b"


def test_a_redirect_loop_ends_after_max_redirects() -> None:
    with UrlServer({"/a": found("/b"), "/b": found("/a")}) as server:
        error = failure(server.url("/a"), dataclasses.replace(HERE, max_redirects=4))
    assert "max_redirects=4" in error.reason
    assert len(server.requests) == 5


def test_as_many_redirects_as_max_redirects_are_followed() -> None:
    with UrlServer({"/a": found("/b"), "/b": found("/c"), "/c": ok()}) as server:
        assert read(server.url("/a"), dataclasses.replace(HERE, max_redirects=2)) == b"picture"
        failure(server.url("/a"), dataclasses.replace(HERE, max_redirects=1))
        failure(server.url("/a"), dataclasses.replace(HERE, max_redirects=0))


@pytest.mark.parametrize(
    ("location", "reason"),
    [
        ("", "without a valid location"),
        ("http://[secret", "without a valid location"),
        ("file:///etc/secret", "only http"),
        ("ftp://127.0.0.1/secret", "only http"),
        ("data:image/png;base64,secret", "only http"),
        ("/cat dog.jpg?secret", "white space"),
        ("/\\127.0.0.1/", "white space"),
        ("//user:secret@127.0.0.1/", "user or password"),
        ("//127.0.0.1:secret/", "not valid"),
    ],
)
def test_a_redirect_is_checked_like_a_first_url(location: str, reason: str) -> None:
    assert reason in failure_of(found(location)).reason


def test_a_redirect_without_or_with_a_garbled_location_is_refused() -> None:
    assert "without a valid location" in failure_of(b"HTTP/1.1 302 Found\r\n\r\n").reason
    assert "without a valid location" in failure_of(b"HTTP/1.1 302 Found\r\nLocation: /\xff\r\n\r\n").reason


def test_an_error_after_a_redirect_names_both_urls() -> None:
    scripts: dict[str, Script] = {"/cat.jpg": found("/dog.jpg?token=secret"), "/dog.jpg?token=secret": ok(b"x" * 200)}
    with UrlServer(scripts) as server, pytest.raises(ImageTooLargeError) as caught:
        read_url(server.url("/cat.jpg"), policy=HERE, max_bytes=199)
    assert caught.value.source == "http://127.0.0.1/cat.jpg"
    assert caught.value.reason == "it redirects to http://127.0.0.1/dog.jpg: more than max_bytes=199 bytes"


@pytest.mark.parametrize(
    "change",
    [
        {"private_hosts": ["a.example"]},
        {"private_hosts": "a.example"},
        {"private_hosts": (1,)},
        *({"private_hosts": (host,)} for host in ("", "http://a.example", "a.example:80", "[::1]", "a b", "*")),
        *({name: 0} for name in ("connect_timeout", "read_timeout", "total_timeout")),
        *({"total_timeout": value} for value in (-1.0, float("nan"), float("inf"), True, "1", None, 86_401)),
        *({"max_redirects": value} for value in (-1, 1.0, True, None)),
    ],
)
def test_a_policy_out_of_range_is_refused_at_construction(change: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(change))):
        UrlPolicy(**change)


def test_a_policy_without_the_http_client_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpcore2", None)
    monkeypatch.delitem(sys.modules, "clip_image_encoder.images.download")
    for call in (UrlPolicy, lambda: read("http://127.0.0.1/")):
        with pytest.raises(MissingExtraError, match=r"python -m pip install 'clip-image-encoder\[urls\]'"):
            call()


def test_the_http_client_is_not_loaded_before_there_is_a_url() -> None:
    program = (
        "import sys; from clip_image_encoder import ImageError, ImageLoader, UrlPolicy\n"
        "loader = ImageLoader(urls=UrlPolicy())\n"
        "assert 'httpcore2' not in sys.modules\n"
        "try: loader('http://127.0.0.1/')\n"
        "except ImageError: assert 'httpcore2' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
