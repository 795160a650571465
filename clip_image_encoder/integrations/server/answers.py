"""Answers of each path."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.requests import ClientDisconnect

from clip_image_encoder import ClosedError, EncoderError
from clip_image_encoder.integrations.server.asked import parse
from clip_image_encoder.integrations.server.body import read_body
from clip_image_encoder.integrations.server.limits import Limits
from clip_image_encoder.integrations.server.refusal import RefusedError, refusal_of
from clip_image_encoder.integrations.server.service import Service
from clip_image_encoder.serving import BatcherStats

__all__ = ["Answers"]


class Answers:
    """Answers of the paths.

    Args:
        name: Model that requests must ask for.
        limits: How much a request may send.

    Attributes:
        name: Model that requests must ask for.
        service: Part that encodes, from the application's start to its end; None before and after.
    """

    def __init__(self, name: str, limits: Limits) -> None:
        self.name, self._limits = name, limits
        self._created = int(time.time())
        self.service: Service | None = None

    async def embeddings(self, request: Request) -> Response:
        """Return the embeddings of texts and images, in the order of the request."""
        service = self._running()
        with service.bodies.place() as take:
            body = await read_body(request, most=self._limits.max_body, take=take)
            asked = parse(body, max_inputs=self._limits.max_inputs)
            del body
            if asked.model != self.name:
                message = f"the model {asked.model[:100]!r} does not exist; this server has {self.name!r}"
                raise RefusedError(404, message, param="model", code="model_not_found")
            values = await _unless_gone(request, service.embed(asked))
        data = ",".join(
            f'{{"object":"embedding","index":{index},"embedding":{value}}}' for index, value in enumerate(values)
        )
        # Tokens are not counted; OpenAI's clients need the fields.
        usage = '{"prompt_tokens":0,"total_tokens":0}'
        content = f'{{"object":"list","data":[{data}],"model":{json.dumps(self.name)},"usage":{usage}}}'
        return Response(content, media_type="application/json")

    async def models(self) -> dict[str, Any]:
        """Return the list of models, which has one."""
        model = {"id": self.name, "object": "model", "created": self._created, "owned_by": "clip-image-encoder"}
        return {"object": "list", "data": [model]}

    async def health(self) -> JSONResponse:
        """Say that the model can encode, or answer 503."""
        try:
            await self._running().check()
        except EncoderError:
            return JSONResponse({"status": "not ready"}, 503)
        return JSONResponse({"status": "ready"})

    async def failure(self, _: Request, error: Exception) -> Response:
        """Return the answer to a request that has raised an error."""
        return refusal_of(error, retry_after=self.service.retry_after() if self.service else 1).response()

    def stats(self) -> dict[str, BatcherStats]:
        """Return the counts of each batcher, by the kind of its inputs."""
        return self.service.stats() if self.service else {}

    def _running(self) -> Service:
        if self.service is None:
            raise ClosedError("the application has not started, or has ended")
        return self.service


async def _until_gone(request: Request) -> None:
    """Return when the client of a request, whose body has been read, has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _unless_gone(request: Request, work: Coroutine[Any, Any, list[str]]) -> list[str]:
    """Return what the work returns; if the client goes before, the work is cancelled.

    Raises:
        ClientDisconnect: The client has gone.
    """
    working = asyncio.create_task(work)
    gone = asyncio.create_task(_until_gone(request))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        gone.cancel()
