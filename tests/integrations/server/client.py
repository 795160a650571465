"""An application of the server that a test asks without a network, and what it asks."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager
from threading import Event
from typing import Any, TypeVar

import httpx
import numpy as np
from fastapi import FastAPI
from PIL import Image

from clip_image_encoder.arrays import Vectors

MODEL = "tiny-shapes"

_Result = TypeVar("_Result")


@asynccontextmanager
async def asking(app: FastAPI, gate: Event | None = None) -> AsyncIterator[httpx.AsyncClient]:
    """Start an application, yield a client of it, and end it; a gate that holds the model up is opened before."""
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://server") as client,
    ):
        try:
            yield client
        finally:
            if gate:
                gate.set()


def run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """Run a test's coroutine; what waits for ever fails."""
    return asyncio.run(asyncio.wait_for(work, 60))


async def embed(client: httpx.AsyncClient, inputs: Any, **fields: Any) -> httpx.Response:
    """Ask for the embeddings of inputs."""
    return await client.post("/v1/embeddings", json={"model": MODEL, "input": inputs, **fields})


def vectors_of(response: httpx.Response) -> Vectors:
    """Return the vectors of an answer, which are in the order of their indices."""
    assert response.status_code == 200, response.text
    data = response.json()["data"]
    assert [entry["index"] for entry in data] == list(range(len(data)))
    return np.stack([vector_of(entry["embedding"]) for entry in data])


def vector_of(embedding: Sequence[float] | str) -> Vectors:
    """Return a vector that was sent as numbers, or as base64 of float32."""
    if isinstance(embedding, str):
        return np.frombuffer(base64.b64decode(embedding), "<f4")
    return np.asarray(embedding, np.float32)


def data_uri(image: Image.Image | bytes) -> str:
    """Return a data: URI of an image, or of what is no image."""
    content = image
    if isinstance(image, Image.Image):
        file = io.BytesIO()
        image.save(file, "PNG")
        content = file.getvalue()
    assert isinstance(content, bytes)
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def image_part(url: str) -> dict[str, Any]:
    """Return an input that says that it is an image, as OpenAI's chat does."""
    return {"type": "image_url", "image_url": {"url": url}}
