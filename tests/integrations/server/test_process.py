"""A server in a process of its own, asked by OpenAI's client, by a crowd, and to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from clip_image_encoder import ImageEncoder, TextEncoder
from tests.integrations.server.client import MODEL, data_uri, embed, image_part, run, vectors_of
from tests.integrations.server.load import TOO_LARGE, Cases, Outcomes, send
from tests.integrations.server.server_process import LIMITS, Server, serving


@pytest.fixture
def client(server: Server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.address}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_openais_client_gets_vectors_of_texts_and_images(
    client: openai.OpenAI, gallery: dict[str, Path], images: ImageEncoder, texts: TextEncoder
) -> None:
    uris = [data_uri(file.read_bytes()) for file in gallery.values()]
    answer = client.embeddings.create(model=MODEL, input=[*gallery, *uris])
    found = np.array([entry.embedding for entry in answer.data], np.float32)
    expected = np.concatenate([texts.encode(list(gallery)), images.encode(list(gallery.values()))])
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert [model.id for model in client.models.list()] == [MODEL]


def test_openais_client_raises_its_own_errors(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="this server has 'tiny-shapes'"):
        client.embeddings.create(model="text-embedding-3-small", input="a red star")
    with pytest.raises(openai.BadRequestError, match="not an image in a known format") as refused:
        client.embeddings.create(model=MODEL, input=["a red star", data_uri(b"no image")])
    assert (refused.value.param, refused.value.code) == ("input[1]", "invalid_image_format")
    with pytest.raises(openai.APIStatusError) as too_large:
        client.embeddings.create(model=MODEL, input=TOO_LARGE.decode())
    assert too_large.value.status_code == 413


@pytest.mark.parametrize("load_in", ["threads", "processes"])
def test_of_a_crowd_of_good_and_bad_requests_each_gets_its_own_answer(
    images: ImageEncoder, texts: TextEncoder, load_in: str
) -> None:
    outcomes = Outcomes()
    with serving(*LIMITS, "--load-in", load_in) as server:
        run(send(server.address, list(islice(Cases(images, texts), 400)), outcomes))
        assert httpx.get(f"{server.address}/health").json() == {"status": "ready"}
    assert outcomes.wrong == []
    assert outcomes.right.total() == 400
    assert len(outcomes.right) == 14


def test_many_requests_share_batches(server: Server) -> None:
    before = [server.metric(f'clip_{name}_total{{kind="text"}}') for name in ("inputs", "batches")]

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=server.address, timeout=60) as client:
            await asyncio.gather(*(embed(client, f"{number} stars") for number in range(100)))

    run(ask())
    after = [server.metric(f'clip_{name}_total{{kind="text"}}') for name in ("inputs", "batches")]
    inputs, batches = (late - early for early, late in zip(before, after, strict=True))
    assert inputs == 100
    assert batches < 50


def test_sigterm_in_the_middle_of_requests_answers_them_before_the_end(
    gallery: dict[str, Path], images: ImageEncoder
) -> None:
    star = gallery["a red star"]
    inputs = [image_part(data_uri(star.read_bytes()))] * 300

    async def ask(server: Server) -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=server.address, timeout=60) as client:
            asked = [asyncio.create_task(embed(client, inputs)) for _ in range(3)]
            while server.metric('clip_inputs_total{kind="image"}') < 64:
                await asyncio.sleep(0.01)
            server.process.send_signal(signal.SIGTERM)
            return await asyncio.gather(*asked)

    with serving() as server:
        answers = run(ask(server))
        # It closes the batchers, and then ends by the signal.
        assert server.process.wait(60) in (0, -signal.SIGTERM)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{server.address}/health")
    for answer in answers:
        vectors = vectors_of(answer)
        assert len(vectors) == 300
        np.testing.assert_allclose(vectors, images.encode([star]).repeat(300, axis=0), atol=1e-5)
