"""Each input gets its own vector, or the request is refused in OpenAI's words."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageLoader, TextEncoder, UrlPolicy
from clip_image_encoder.cache import CachedEncoder, MemoryCache
from clip_image_encoder.integrations.server import create_app, name_of
from clip_image_encoder.integrations.server.asked import parse
from clip_image_encoder.testing import ToyBackend
from tests.integrations.server.client import MODEL, asking, data_uri, embed, image_part, run, vectors_of


@pytest.fixture(scope="module")
def app(images: ImageEncoder, texts: TextEncoder) -> FastAPI:
    return create_app(images, texts, name=MODEL)


def answer(app: FastAPI, inputs: Any, **fields: Any) -> httpx.Response:
    async def ask() -> httpx.Response:
        async with asking(app) as client:
            return await embed(client, inputs, **fields)

    return run(ask())


def error_of(response: httpx.Response) -> dict[str, Any]:
    """Return an error, which has all that OpenAI's have."""
    assert set(response.json()) == {"error"}
    error: dict[str, Any] = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def test_texts_and_images_of_one_list_get_their_own_vectors_in_order(
    app: FastAPI, gallery: dict[str, Path], images: ImageEncoder, texts: TextEncoder
) -> None:
    uris = [data_uri(file.read_bytes()) for file in gallery.values()]
    inputs = [given for name, uri in zip(gallery, uris, strict=True) for given in (name, image_part(uri), uri)]
    found = vectors_of(answer(app, inputs)).reshape(len(gallery), 3, -1)
    np.testing.assert_allclose(found[:, 0], texts.encode(list(gallery)), atol=1e-5)
    np.testing.assert_allclose(found[:, 1], images.encode(list(gallery.values())), atol=1e-5)
    np.testing.assert_allclose(found[:, 2], found[:, 1], atol=1e-5)


def test_one_string_is_a_list_of_one(app: FastAPI, texts: TextEncoder) -> None:
    np.testing.assert_allclose(vectors_of(answer(app, "a red star")), texts.encode(["a red star"]), atol=1e-5)


def test_base64_and_numbers_are_the_same_float32(app: FastAPI) -> None:
    as_base64, as_numbers = answer(app, "a red star", encoding_format="base64"), answer(app, "a red star")
    assert isinstance(as_base64.json()["data"][0]["embedding"], str)
    assert vectors_of(as_base64).tobytes() == vectors_of(as_numbers).tobytes()


def test_fewer_dimensions_are_the_first_ones_at_length_1(app: FastAPI) -> None:
    (whole,), (cut,) = vectors_of(answer(app, "a red star")), vectors_of(answer(app, "a red star", dimensions=8))
    np.testing.assert_allclose(cut, whole[:8] / np.linalg.norm(whole[:8]), atol=1e-6)


def test_more_dimensions_than_there_are_is_refused(app: FastAPI) -> None:
    refused = answer(app, "a red star", dimensions=65)
    assert (refused.status_code, error_of(refused)["param"]) == (400, "dimensions")


def test_a_bad_image_refuses_the_request_and_is_named_by_its_index(app: FastAPI, gallery: dict[str, Path]) -> None:
    good = data_uri(gallery["a red star"].read_bytes())
    refused = answer(app, ["a red star", good, data_uri(b"no image"), good])
    assert refused.status_code == 400
    error = error_of(refused)
    assert (error["type"], error["param"], error["code"]) == (
        "invalid_request_error",
        "input[2]",
        "invalid_image_format",
    )
    assert error["message"].startswith("input[2]: not an image in a known format")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/v1/embeddings", b'{"model": "gpt", "input": "a"}', 404, "model_not_found"),
        ("/v1/embeddings", b"{", 400, None),
        ("/v1/chat/completions", b"{}", 404, None),
        ("/health", b"{}", 405, None),
    ],
)
def test_every_refusal_has_the_shape_of_openais(app: FastAPI, path: str, body: bytes, status: int, code: Any) -> None:
    async def ask() -> httpx.Response:
        async with asking(app) as client:
            return await client.post(path, content=body)

    refused = run(ask())
    assert (refused.status_code, error_of(refused)["code"]) == (status, code)


def test_a_model_without_texts_says_so(images: ImageEncoder) -> None:
    refused = answer(create_app(images, name=MODEL), ["a red star"])
    assert refused.status_code == 400
    assert error_of(refused)["message"] == "input[0]: this model encodes images and no texts"


def test_a_cached_encoder_serves_too(images: ImageEncoder, gallery: dict[str, Path]) -> None:
    cached = CachedEncoder(images, MemoryCache())
    uri = data_uri(gallery["a red star"].read_bytes())
    answer(create_app(cached, name=MODEL), [uri])
    np.testing.assert_allclose(
        vectors_of(answer(create_app(cached, name=MODEL), [uri])), images.encode([gallery["a red star"]]), atol=1e-5
    )
    assert cached.hits == 1


@pytest.fixture
def image_address(gallery: dict[str, Path]) -> Iterator[str]:
    """Where a server of this machine has an image."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(gallery["a red star"].read_bytes())

        def log_message(self, *arguments: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/star.png"
        server.shutdown()
        thread.join()


def test_no_url_is_fetched_unless_the_loader_allows_it(app: FastAPI, image_address: str) -> None:
    refused = answer(app, [image_part(image_address)])
    assert refused.status_code == 400
    assert error_of(refused)["message"] == "input[0]: this server fetches no URLs; send the image as a data: URI"
    assert error_of(refused)["code"] == "invalid_image_url"


def test_an_allowed_url_is_an_image_and_an_address_inside_is_refused(
    image_address: str, images: ImageEncoder, gallery: dict[str, Path]
) -> None:
    public = create_app(ImageEncoder(MODEL, loader=ImageLoader(urls=UrlPolicy())), name=MODEL)
    refused = answer(public, [image_part(image_address)])
    assert refused.status_code == 400
    assert "its host is not public" in error_of(refused)["message"]
    policy = UrlPolicy(private_hosts=("127.0.0.1",))
    private = create_app(ImageEncoder(MODEL, loader=ImageLoader(urls=policy)), name=MODEL)
    found = vectors_of(answer(private, [image_part(image_address)]))
    np.testing.assert_allclose(found, images.encode([gallery["a red star"]]), atol=1e-5)


def test_slow_urls_hold_up_no_other_image(gallery: dict[str, Path]) -> None:
    policy = UrlPolicy(private_hosts=("127.0.0.1",))
    app = create_app(ImageEncoder(MODEL, loader=ImageLoader(urls=policy)), name=MODEL)
    with closing(socket.create_server(("127.0.0.1", 0), backlog=64)) as silent:
        silent.settimeout(30)
        slow = image_part(f"http://127.0.0.1:{silent.getsockname()[1]}/")

        async def ask() -> httpx.Response:
            async with asking(app) as client:
                waiting = asyncio.create_task(embed(client, [slow] * 30))
                accepted = await asyncio.to_thread(lambda: [silent.accept()[0] for _ in range(30)])
                found = await embed(client, [data_uri(gallery["a red star"].read_bytes())])
                assert not waiting.done()
                for connection in accepted:
                    connection.close()
                await waiting
                return found

        assert run(ask()).status_code == 200


def test_the_models_are_listed_as_openais(app: FastAPI) -> None:
    async def ask() -> httpx.Response:
        async with asking(app) as client:
            return await client.get("/v1/models")

    listed = run(ask()).json()
    assert (listed["object"], [model["id"] for model in listed["data"]]) == ("list", [MODEL])


def test_a_folder_is_served_by_its_name_alone(tmp_path: Path) -> None:
    assert name_of("openai/clip-vit-base-patch32") == "openai/clip-vit-base-patch32"
    assert name_of(tmp_path) == tmp_path.name


def test_the_description_for_people_has_a_request_that_works(app: FastAPI) -> None:
    described = app.openapi()["paths"]["/v1/embeddings"]["post"]["requestBody"]["content"]["application/json"]
    asked = parse(json.dumps(described["example"]).encode(), max_inputs=2)
    assert (asked.model, len(asked.input)) == (MODEL, 2)


def test_encoders_need_a_name_and_one_space(images: ImageEncoder, texts: TextEncoder) -> None:
    with pytest.raises(ConfigurationError, match="name= is missing"):
        create_app(images, texts)
    with pytest.raises(ConfigurationError, match="pass those of one checkpoint"):
        create_app(ImageEncoder(backend=ToyBackend()), texts, name="toy")
