"""https: the name is verified although the connection goes to an address."""

from __future__ import annotations

import dataclasses
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from clip_image_encoder.images import download
from clip_image_encoder.images.url import read_url
from clip_image_encoder.images.url_policy import UrlPolicy

from .url_server import HERE, Clock, Names, UrlServer, drip, failure, found, ok

OPENSSL = shutil.which("openssl") or ""
PUBLIC = "93.184.216.34"
STRICT = UrlPolicy()

pytestmark = pytest.mark.skipif(not OPENSSL, reason="openssl makes the certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for images.example, signed by itself, and its key."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    options = "req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=pictures.example"
    extensions = ("subjectAltName=DNS:pictures.example", "keyUsage=critical,digitalSignature,keyCertSign")
    command = [OPENSSL, *options.split(), "-keyout", str(path), "-out", str(path.with_suffix(".crt"))]
    for extension in extensions:
        command += ["-addext", extension]
    subprocess.run(command, check=True, capture_output=True)
    with path.open("a") as both:
        both.write(path.with_suffix(".crt").read_text())
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    """What the server speaks."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.fixture(autouse=True)
def fresh_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are read anew."""
    monkeypatch.setattr(download, "_THREAD", type(download._THREAD)())


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system trusts the certificate."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))


@pytest.mark.usefixtures("trusted")
def test_a_name_is_verified_and_its_checked_address_connected_to(
    tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    tls.sni_callback = lambda connection, name, context: asked.append(str(name))
    with UrlServer({"/": ok()}, tls=tls) as server:
        names = Names(monkeypatch, {"pictures.example": [[PUBLIC], ["127.0.0.1"]]}, port=server.port)
        assert read_url("https://pictures.example/", policy=STRICT, max_bytes=9)[0] == b"picture"
    assert asked == ["pictures.example"]
    assert names.asked == ["pictures.example"]
    assert names.reached == [(PUBLIC, 443)]


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_name_is_refused(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with UrlServer({"/": ok()}, tls=tls) as server:
        Names(monkeypatch, {"other.example": [[PUBLIC]]}, port=server.port)
        assert "certificate" in failure("https://other.example/?token=secret", STRICT).reason
    assert server.requests == []


def test_a_certificate_that_nobody_trusts_is_refused(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with UrlServer({"/": ok()}, tls=tls) as server:
        Names(monkeypatch, {"pictures.example": [[PUBLIC]]}, port=server.port)
        assert "certificate" in failure("https://pictures.example/", STRICT).reason
    assert server.requests == []


def test_a_private_host_needs_a_certificate_as_well(tls: ssl.SSLContext) -> None:
    with UrlServer({"/": ok()}, tls=tls) as server:
        assert "certificate" in failure(server.url(scheme="https")).reason


@pytest.mark.usefixtures("trusted")
def test_a_redirect_from_https_to_http_is_refused(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    with UrlServer({"/": found("http://pictures.example/")}, tls=tls) as server:
        names = Names(monkeypatch, {"pictures.example": [[PUBLIC]]}, port=server.port)
        assert "from https to http" in failure("https://pictures.example/", STRICT).reason
    assert len(names.reached) == 1


@pytest.mark.usefixtures("trusted")
def test_a_redirect_from_http_to_https_is_followed(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = dataclasses.replace(STRICT, private_hosts=("127.0.0.1",))
    with UrlServer({"/": ok()}, tls=tls) as secure, UrlServer({"/": found("https://pictures.example/")}) as plain:
        Names(monkeypatch, {"pictures.example": [[PUBLIC]]}, port=secure.port)
        assert read_url(plain.url(), policy=policy, max_bytes=9)[0] == b"picture"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.usefixtures("trusted")
def test_a_handshake_that_fails_is_a_fetch_error(
    version: ssl.TLSVersion, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    tls.verify_mode = ssl.CERT_REQUIRED  # which the client has none of
    tls.maximum_version = version
    with UrlServer({"/": ok()}, tls=tls) as server:
        Names(monkeypatch, {"pictures.example": [[PUBLIC]]}, port=server.port)
        assert "TLS with its host failed" in failure("https://pictures.example/", STRICT).reason


def test_a_handshake_that_is_never_answered_ends_in_time() -> None:
    with UrlServer({}) as server:
        url = server.url(scheme="https")
        assert "connect_timeout=0.1" in failure(url, dataclasses.replace(HERE, connect_timeout=0.1)).reason
        assert "total_timeout=0.1" in failure(url, dataclasses.replace(HERE, total_timeout=0.1)).reason


@pytest.mark.usefixtures("trusted")
def test_a_slow_drip_ends_at_total_timeout(tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    with UrlServer({"/": drip(b"HTTP/1.1 200 OK\r\n\r\n", clock)}, tls=tls) as server:
        Names(monkeypatch, {"pictures.example": [[PUBLIC]]}, port=server.port)
        assert "total_timeout=60" in failure("https://pictures.example/", STRICT).reason
    assert clock.passed < 600
