"""Which hosts and addresses a URL may lead to, by whatever way."""

from __future__ import annotations

import dataclasses
import ipaddress
import random
import socket
import threading
from typing import Any

import pytest

from clip_image_encoder.errors import ImageFetchError
from clip_image_encoder.images.addresses import canonical_host, is_public
from clip_image_encoder.images.url import read_url
from clip_image_encoder.images.url_policy import UrlPolicy

from .url_server import Names, UrlServer, failure, found, ok

STRICT = UrlPolicy()
PUBLIC = "93.184.216.34"

NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.255.255.254", "168.63.129.16"),  # noqa: S104
    *("169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.1.1"),
    *("198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:0:127.0.0.1"),
    *("64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b:1::1.1.1.1", "100::1", "fc00::1", "fd00:ec2::254"),
    *("fe80::1", "fe80::1%2", "fec0::1", "ff02::1", "ff0e::1", "2001::1", "2001:0:7f00:1::", "2001:db8::1"),
    *("2002:7f00:1::", "2002:a9fe:a9fe::1", "3fff::1", "5f00::1", "4000::1"),
]
PUBLIC_ONES = ["1.1.1.1", "8.8.8.8", PUBLIC, "172.32.0.1", "100.128.0.1", "223.255.255.254"]
PUBLIC_ONES += ["2606:4700::1111", "2a00:1450:4001::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_told(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC_ONES)
def test_a_public_address_is_told(address: str) -> None:
    assert is_public(address)


def test_no_address_is_public_that_python_says_is_not() -> None:
    numbers = random.Random(5)
    addresses = [ipaddress.IPv4Address(numbers.getrandbits(32)) for _ in range(2000)]
    addresses += [ipaddress.IPv6Address(numbers.getrandbits(125) | 1 << 125) for _ in range(2000)]  # type: ignore[misc]
    for address in addresses:
        if is_public(str(address)):
            assert address.is_global
            assert not address.is_multicast


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "0", "169.254.169.254"),
        *("2852039166", "10.0.0.1", "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::FFFF:7f00:1]"),
        *("[::ffff:169.254.169.254]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[fe80::1]"),
    ],
)
def test_a_number_of_a_private_host_is_refused_however_it_is_written(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(monkeypatch, {})
    error = failure(f"http://{host}:8000/cat.jpg?secret", STRICT)
    assert type(error) is ImageFetchError
    assert "not public" in error.reason or "not known" in error.reason  # not every resolver reads 127.1
    assert names.reached == []


def test_the_names_of_this_machine_are_refused() -> None:
    with UrlServer({"/": ok()}) as server:
        assert "not public" in failure(server.url(host="localhost"), STRICT).reason
        assert server.requests == []


@pytest.mark.parametrize("address", ["127.0.0.1", "169.254.169.254", "10.1.2.3", "::1", "fe80::1%1", "::ffff:10.0.0.1"])
def test_a_name_is_refused_if_any_of_its_addresses_is_private(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for addresses in ([address], [PUBLIC, address], [address, PUBLIC]):
        names = Names(monkeypatch, {"mixed.example": [addresses]})
        error = failure("http://mixed.example/cat.jpg", STRICT)
        assert "not public" in error.reason
        assert address not in str(error)
        assert names.reached == []


def test_a_name_is_resolved_once_and_the_checked_address_is_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    with UrlServer({"/": ok()}) as server:
        names = Names(monkeypatch, {"rebind.example": [[PUBLIC], ["127.0.0.1"]]}, port=server.port)
        assert read_url("http://Rebind.example/", policy=STRICT, max_bytes=9)[0] == b"picture"
    assert names.asked == ["rebind.example"]
    assert names.reached == [(PUBLIC, 80)]
    assert "Host: rebind.example\r\n" in server.requests[0]


def test_a_name_is_checked_anew_at_each_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    with UrlServer({"/": found("/again")}) as server:
        names = Names(monkeypatch, {"rebind.example": [[PUBLIC], ["127.0.0.1"]]}, port=server.port)
        error = failure("http://rebind.example/", STRICT)
    assert "redirects to http://rebind.example/again: its host is not public" in error.reason
    assert names.reached == [(PUBLIC, 80)]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "[::1]", "localhost", "169.254.169.254", "inside.example"])
def test_a_redirect_to_a_private_host_is_refused(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with UrlServer({"/": found(f"http://{host}/")}) as server:
        known = {"outside.example": [[PUBLIC]], "inside.example": [["10.0.0.1"]], "localhost": [["127.0.0.1"]]}
        names = Names(monkeypatch, known, port=server.port)
        assert "redirects to" in failure("http://outside.example/", STRICT).reason
    assert names.reached == [(PUBLIC, 80)]


@pytest.mark.parametrize("first", ["::1", "10.0.0.1"], ids=["refuses", "swallows"])
def test_the_next_address_is_tried_if_the_first_does_not_answer(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = UrlPolicy(private_hosts=("double.example",))
    with UrlServer({"/": ok()}) as server:
        names = Names(monkeypatch, {"double.example": [[first, "127.0.0.1"]]}, black_hole="10.0.0.1")
        assert read_url(server.url(host="double.example"), policy=policy, max_bytes=9)[0] == b"picture"
    assert names.reached == [(first, server.port), ("127.0.0.1", server.port)]


def test_addresses_that_swallow_everything_share_one_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = UrlPolicy(private_hosts=("many.example",), connect_timeout=20.0)
    names = Names(monkeypatch, {"many.example": [["10.0.0.1"] * 2 + ["10.0.0.2"]]}, black_hole="10.0.0.")
    assert "connect_timeout=20" in failure("http://many.example/", policy).reason
    assert names.reached == [("10.0.0.1", 80), ("10.0.0.2", 80)]
    assert names.clock.passed <= 20


@pytest.mark.parametrize(
    ("private", "host"),
    [
        ("pictures.intranet", "Pictures.Intranet"),
        ("PICTURES.intranet", "pictures.intranet"),
        ("bücher.intranet", "xn--bcher-kva.intranet"),
        ("xn--bcher-kva.intranet", "BÜCHER.intranet"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "[0::1]"),
    ],
)
def test_a_private_host_can_be_allowed_by_name(private: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = dataclasses.replace(STRICT, private_hosts=("another.intranet", private))
    with UrlServer({"/": ok()}) as server:
        known = {"pictures.intranet": [["10.0.0.1"]], "xn--bcher-kva.intranet": [["10.0.0.1"]], "::1": [["10.0.0.1"]]}
        Names(monkeypatch, known, port=server.port)
        assert read_url(server.url(host=host), policy=policy, max_bytes=9)[0] == b"picture"


def test_allowing_a_host_allows_no_other_name_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, {"a.intranet": [["10.0.0.1"]], "b.a.intranet": [["10.0.0.1"]], "a.intranet.": [["10.0.0.1"]]})
    policy = dataclasses.replace(STRICT, private_hosts=("a.intranet",))
    for host in ("b.a.intranet", "10.0.0.1", "a.intranet."):
        assert "not public" in failure(f"http://{host}/", policy).reason


@pytest.mark.parametrize(
    "url",
    [
        *("http://user:secret@example.org/", "http://secret@example.org/", "http://@example.org/"),
        *("http://127.0.0.1:80@example.org/", "http://example.org:secret@127.0.0.1/", "http://a@b@127.0.0.1/"),
        *("http://example.org\\@127.0.0.1/", "http://example.org\\cat.jpg", "http:\\\\127.0.0.1/", "http:/\\127.0.0.1"),
        *("http://example.org /", "http://example.org/cat dog", "http://exa\tmple.org/", "http://example.org/\n"),
        *("http://example.org/\r\nHost: a", "http://example.org/\0", "http://example.org/\x7f", " http://a.org"),
        *("http://example.org/\u2028", "http://example.org/\ud800", "http://exam\u00adple.org/", "http://a\u3000b.org"),
        *("http://", "http:///cat.jpg", "http://:80/", "http://?secret", "http://#secret", "http:127.0.0.1", "http:"),
        *("http://example.org:0/", "http://example.org:65536/", "http://example.org:secret/", "http://a.org:-1/"),
        *(
            "http://example.org:80:80/",
            "http://example.org:\uff18\uff10/",
            "http://example.org:0x50/",
            "http://a.org:+80/",
        ),
        *(
            "http://user:secret@a\u2100b.org/",
            "http://[::1",
            "http://::1/",
            "http://[a.org]/",
            "http://[fe80::1%25eth0]/",
            "http://[v1.a]/",
        ),
        *("http://a[::1]/", "http://[::1]a/", "http://[127.0.0.1]/", "http://[::1::1]/"),
        *("http://exa%6dple.org/", "http://%31%32%37.0.0.1/", "http://a..org/", "http://.a.org/", "http://*.org/"),
        *(
            "http://\uff11\uff12\uff17.0.0.1/",
            "http://127。0。0。1/",
            "http://①②⑦.0.0.1/",
            "http://\uff4cocalhost/",
            "http://faß.de/",
        ),
        *(
            "http://" + "a" * 64 + ".org/",
            "http://" + "a." * 130 + "org/",
            "http://" + "ü" * 8000,
            "http://" + "ü." * 100 + "org",
            "http://a,b.org/",
        ),
        *("http://example.org/" + "a" * 10_000, "ftp://secret.org/", "file:///secret", "//example.org/", "secret", ""),
    ],
)
def test_a_url_that_could_be_read_in_two_ways_is_refused_unresolved(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", None)
    error = failure(url, STRICT)
    assert type(error) is ImageFetchError
    assert len(error.source) <= 120


def test_the_host_header_has_brackets_around_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    with UrlServer({"/": ok()}) as server:
        Names(monkeypatch, {"::1": [["10.0.0.1"]]}, port=server.port)
        policy = dataclasses.replace(STRICT, private_hosts=("::1",))
        read_url("http://[0::1]/", policy=policy, max_bytes=9)
        read_url("http://[::1]:8080/", policy=policy, max_bytes=9)
    assert "Host: [::1]\r\n" in server.requests[0]
    assert "Host: [::1]:8080\r\n" in server.requests[1]


def test_hosts_have_one_spelling() -> None:
    assert canonical_host("BÜCHER.example") == "xn--bcher-kva.example"
    assert canonical_host("my_host-1.Example.") == "my_host-1.example."
    assert canonical_host("0:0::1") == "::1"


def test_a_name_without_an_address_is_a_fetch_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Names(monkeypatch, {"empty.example": [[]]})
    assert "can't be reached" in failure("http://empty.example/").reason
    assert "not known" in failure("http://nowhere.example/cat.jpg?token=secret").reason


def test_the_cause_of_an_error_survives_a_redirect(monkeypatch: pytest.MonkeyPatch) -> None:
    with UrlServer({"/": found("http://nowhere.example/")}) as server:
        Names(monkeypatch, {})
        error = failure(server.url())
    assert error.reason == "it redirects to http://nowhere.example/: its host name is not known; check its spelling"
    assert isinstance(error.__cause__, socket.gaierror)


def test_a_resolver_that_hangs_ends_at_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on, done = threading.Event(), threading.Event()

    def hang(*arguments: Any, **options: Any) -> list[Any]:
        go_on.wait(10)
        done.set()
        return []

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(ImageFetchError, match=r"connect_timeout=0\.1 seconds"):
        read_url("http://slow.example/", policy=dataclasses.replace(STRICT, connect_timeout=0.1), max_bytes=9)
    go_on.set()
    assert done.wait(10)
