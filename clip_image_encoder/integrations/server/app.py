"""The application: what it loads, and its paths."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from clip_image_encoder import ConfigurationError, EncoderError, ImageEncoder, ImageLoader, TextEncoder
from clip_image_encoder.cache import CachedEncoder
from clip_image_encoder.integrations.server.answers import Answers
from clip_image_encoder.integrations.server.limits import Limits
from clip_image_encoder.integrations.server.metrics import TimedRequests, registry_of
from clip_image_encoder.integrations.server.refusal import RefusedError
from clip_image_encoder.integrations.server.service import Service

__all__ = ["STRICT_LOADER", "create_app", "name_of"]

STRICT_LOADER = ImageLoader(max_bytes=10_000_000, max_pixels=25_000_000, formats=("JPEG", "PNG", "WEBP"))
"""Loader for images of strangers: tighter limits than the default, and no URLs."""


def create_app(
    encoder: ImageEncoder | CachedEncoder | str | os.PathLike[str],
    text_encoder: TextEncoder | None = None,
    *,
    name: str | None = None,
    limits: Limits | None = None,
    max_batch_size: int = 32,
    max_wait_ms: float = 5.0,
) -> FastAPI:
    """Return an application that answers OpenAI's `POST /v1/embeddings` for texts and images.

    Further paths are `GET /v1/models`, `GET /health` and `GET /metrics`. The batchers run from the start of the
    application to its end, which its lifespan tells.

    Args:
        encoder: Encoder of images; or a hub id, a folder or "tiny-shapes", whose texts are encoded, too, and whose
            images are read by `STRICT_LOADER`.
        text_encoder: Encoder of texts of the same checkpoint; None means that of a model that is given by its name,
            and refuses texts otherwise.
        name: Model that requests must ask for; None means the model's name, or the last part of a folder's path.
        limits: How much a request may send, and how much the server holds; None means `Limits()`.
        max_batch_size: Largest number of inputs in a batch.
        max_wait_ms: Time that an idle model waits for more inputs after the first, in milliseconds.

    Raises:
        ConfigurationError: An argument is wrong, or the encoders do not fit each other.
        CheckpointError: The model can't be loaded, or has no text tower.

    Example:
        >>> from clip_image_encoder.integrations.server import create_app
        >>> app = create_app("tiny-shapes")
    """
    if isinstance(encoder, (str, os.PathLike)):
        name = name or name_of(encoder)
        text_encoder = text_encoder or TextEncoder(encoder)
        encoder = ImageEncoder(encoder, loader=STRICT_LOADER)
    if not name:
        raise ConfigurationError("name= is missing: the model that requests ask for")
    if text_encoder is not None and text_encoder.dimension != encoder.dimension:
        raise ConfigurationError(
            f"the text_encoder's vectors have {text_encoder.dimension} numbers and the encoder's {encoder.dimension}; "
            "pass those of one checkpoint"
        )
    answers = Answers(name, limits or Limits())

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service = Service(
            encoder, text_encoder, limits or Limits(), max_batch_size=max_batch_size, max_wait_ms=max_wait_ms
        )
        answers.service = service
        try:
            yield
        finally:
            answers.service = None
            service.close()

    return _with_paths(FastAPI(title="clip-image-encoder", lifespan=lifespan), answers)


def name_of(model: str | os.PathLike[str]) -> str:
    """Return the name under which a model is served: that of its folder alone, so that no path is told, or its hub id.

    Args:
        model: Hub id, folder or "tiny-shapes".
    """
    return Path(model).resolve().name if Path(model).is_dir() else os.fspath(model)


def _described(name: str) -> dict[str, Any]:
    """Return what `/docs` shows of a request, which FastAPI does not see since the body is read in parts."""
    example = {"model": name, "input": ["a red star", {"type": "image_url", "image_url": {"url": "data:..."}}]}
    return {"requestBody": {"required": True, "content": {"application/json": {"example": example}}}}


def _with_paths(app: FastAPI, answers: Answers) -> FastAPI:
    """Add the paths to an application, and return it."""
    registry = registry_of(answers.stats)

    async def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    app.add_api_route(
        "/v1/embeddings",
        answers.embeddings,
        methods=["POST"],
        response_model=None,
        openapi_extra=_described(answers.name),
    )
    app.add_api_route("/v1/models", answers.models)
    app.add_api_route("/health", answers.health, response_model=None)
    app.add_api_route("/metrics", metrics, response_model=None)
    app.add_middleware(
        TimedRequests, registry=registry, paths=frozenset({"/v1/embeddings", "/v1/models", "/health", "/metrics"})
    )
    for error in (RefusedError, HTTPException, ClientDisconnect, EncoderError, Exception):
        app.add_exception_handler(error, answers.failure)
    return app
