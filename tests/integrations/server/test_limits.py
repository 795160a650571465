"""What is too much is refused at once, and nobody is held up by what others send."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

import httpx
import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder, Output
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.integrations.server import Limits, create_app
from tests.integrations.server.client import MODEL, asking, data_uri, embed, run
from tests.units.serving.gated_backend import GatedBackend

ONE = data_uri(Image.new("RGB", (40, 30), "red"))


class Remembering(GatedBackend):
    """A gated backend that remembers how bright each image was, in the order of its work."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[int] = []

    def __call__(self, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        given = super().__call__(pixels, output=output, device=device)
        self.seen += [int(image.mean()) for image in np.asarray(pixels)]
        return given


def metric(name: str, text: str) -> float:
    return next(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))


async def until_queued(client: httpx.AsyncClient, count: int) -> None:
    """Return when so many inputs are in the queue, and one batch at the gate."""
    while metric('clip_queue_depth{kind="image"}', (await client.get("/metrics")).text) < count:
        await asyncio.sleep(0.001)


async def parts(sizes: Sequence[int]) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b" " * size


def test_a_body_is_counted_as_it_comes_and_read_no_further(toy: ImageEncoder) -> None:
    sent = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            sent.append(1)
            yield b" " * 1000

    async def ask() -> httpx.Response:
        async with asking(create_app(toy, name=MODEL, limits=Limits(max_body=10_000))) as client:
            return await client.post("/v1/embeddings", content=endless())

    refused = run(ask())
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "request_too_large")
    assert len(sent) == 11


def test_a_body_that_is_announced_as_too_large_is_not_read(toy: ImageEncoder) -> None:
    async def unread() -> AsyncIterator[bytes]:
        pytest.fail("it was read")
        yield b""

    async def ask() -> httpx.Response:
        async with asking(create_app(toy, name=MODEL, limits=Limits(max_body=10_000))) as client:
            return await client.post("/v1/embeddings", content=unread(), headers={"Content-Length": "10001"})

    assert run(ask()).status_code == 413


def test_bodies_that_do_not_fit_together_are_answered_with_429_until_one_has_gone(toy: ImageEncoder) -> None:
    body = json.dumps({"model": MODEL, "input": [ONE]}).encode()
    half = len(body) // 2

    async def ask() -> list[int]:
        begun, goes_on = asyncio.Event(), asyncio.Event()

        async def slow() -> AsyncIterator[bytes]:
            yield body[:half]
            begun.set()
            await goes_on.wait()
            yield body[half:]

        limits = Limits(max_body=len(body), max_bodies=len(body) + half - 1)
        async with asking(create_app(toy, name=MODEL, limits=limits)) as client:
            first = asyncio.create_task(client.post("/v1/embeddings", content=slow()))
            await begun.wait()
            second = await client.post("/v1/embeddings", content=body)
            goes_on.set()
            statuses = [second.status_code, (await first).status_code]
            return [*statuses, (await client.post("/v1/embeddings", content=body)).status_code]

    assert run(ask()) == [429, 200, 200]


def test_a_full_queue_is_answered_with_429_and_a_time_and_takes_requests_again() -> None:
    gated = GatedBackend()

    async def ask() -> None:
        app = create_app(ImageEncoder(backend=gated), name=MODEL, limits=Limits(max_waiting=4))
        async with asking(app, gated.gate) as client:
            gated.gate.clear()
            fitting = [asyncio.create_task(embed(client, [ONE] * count)) for count in (1, 3)]
            await asyncio.to_thread(gated.wait_for_a_batch)
            refused = await embed(client, [ONE])
            assert refused.status_code == 429
            assert 1 <= int(refused.headers["Retry-After"]) <= 60
            assert refused.json()["error"]["code"] == "rate_limit_exceeded"
            gated.gate.set()
            assert [(await each).status_code for each in fitting] == [200, 200]
            assert (await embed(client, [ONE] * 4)).status_code == 200

    run(ask())


def test_a_request_longer_than_the_queue_is_encoded_in_turns() -> None:
    async def ask() -> int:
        app = create_app(ImageEncoder(backend=GatedBackend()), name=MODEL, limits=Limits(max_waiting=4))
        async with asking(app) as client:
            return len((await embed(client, [ONE] * 50)).json()["data"])

    assert run(ask()) == 50


def test_a_long_list_does_not_hold_up_a_request_that_comes_after_it() -> None:
    backend = Remembering()
    dark, bright = (data_uri(Image.new("RGB", (64, 64), (shade,) * 3)) for shade in (0, 255))

    async def ask() -> None:
        app = create_app(ImageEncoder(backend=backend), name=MODEL, max_batch_size=4)
        async with asking(app, backend.gate) as client:
            backend.gate.clear()
            long = asyncio.create_task(embed(client, [dark] * 200))
            await until_queued(client, 4)
            short = asyncio.create_task(embed(client, [bright]))
            await until_queued(client, 5)
            backend.gate.set()
            assert (await short).status_code == 200
            assert (await long).status_code == 200

    run(ask())
    assert len(backend.seen) == 201
    # Two batches of the long list were in the queue before it, and perhaps a few that were decoded faster.
    assert backend.seen.index(255) < 100


def test_the_inputs_of_a_client_that_has_gone_are_not_encoded() -> None:
    gated = GatedBackend()

    async def ask() -> None:
        app = create_app(ImageEncoder(backend=gated), name=MODEL, max_batch_size=1, limits=Limits(max_waiting=3))
        async with asking(app, gated.gate) as client:
            gated.gate.clear()
            staying = asyncio.create_task(embed(client, [ONE]))
            await asyncio.to_thread(gated.wait_for_a_batch)
            body = json.dumps({"model": MODEL, "input": [ONE] * 100}).encode()
            messages = [{"type": "http.request", "body": body, "more_body": False}]
            left = asyncio.Event()

            async def receive() -> dict[str, object]:
                if messages:
                    return messages.pop()
                await left.wait()
                return {"type": "http.disconnect"}

            async def send(message: object) -> None:
                pass

            scope = {"type": "http", "method": "POST", "path": "/v1/embeddings", "headers": [], "query_string": b""}
            leaving = asyncio.create_task(app(scope, receive, send))
            await until_queued(client, 2)
            assert (await embed(client, [ONE])).status_code == 429
            left.set()
            await leaving
            gated.gate.set()
            assert (await staying).status_code == 200
            assert (await embed(client, [ONE])).status_code == 200

    run(ask())
    assert len(gated.sizes) == 2


def test_a_failing_device_is_the_servers_fault_and_it_is_not_ready_until_it_works_again() -> None:
    gated = GatedBackend()

    async def ask() -> list[int]:
        async with asking(create_app(ImageEncoder(backend=gated), name=MODEL)) as client:
            statuses = [(await client.get("/health")).status_code]
            gated.fault = RuntimeError("the device has fallen off the bus")
            failed = await embed(client, [ONE])
            assert failed.json()["error"]["type"] == "server_error"
            assert "bus" not in failed.text
            statuses += [failed.status_code, (await client.get("/health")).status_code]
            gated.fault = None
            return [*statuses, (await client.get("/health")).status_code, (await embed(client, [ONE])).status_code]

    assert run(ask()) == [200, 500, 503, 200, 200]


def test_an_application_that_has_not_started_or_has_ended_is_not_ready(toy: ImageEncoder) -> None:
    app = create_app(toy, name=MODEL)

    async def statuses() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://server") as client:
            return [(await client.get("/health")).status_code, (await embed(client, [ONE])).status_code]

    async def ask() -> None:
        assert await statuses() == [503, 503]
        async with asking(app) as client:
            assert (await embed(client, [ONE])).status_code == 200
        assert await statuses() == [503, 503]

    run(ask())


def test_the_metrics_count_inputs_by_kind_and_requests_by_status(toy: ImageEncoder) -> None:
    async def ask() -> str:
        async with asking(create_app(toy, name=MODEL)) as client:
            await embed(client, [ONE, ONE])
            await embed(client, [data_uri(b"no image")])
            await client.get("/a/path/of/a/scanner")
            return str((await client.get("/metrics")).text)

    text = run(ask())
    assert metric('clip_inputs_total{kind="image"}', text) == 3
    assert metric('clip_failures_total{kind="image"}', text) == 1
    assert metric('clip_seconds_total{kind="image",stage="encoding"}', text) > 0
    assert metric('clip_request_seconds_count{path="/v1/embeddings",status="200"}', text) == 1
    assert metric('clip_request_seconds_count{path="/v1/embeddings",status="400"}', text) == 1
    assert metric('clip_request_seconds_count{path="other",status="404"}', text) == 1
    assert "scanner" not in text


@pytest.mark.parametrize("limits", [{"max_inputs": 0}, {"max_body": 20, "max_bodies": 10}])
def test_limits_that_nothing_fits_are_refused(limits: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(limits))):
        Limits(**limits)
