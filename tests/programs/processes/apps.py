"""What the servers of `tests.programs.processes.servers` serve.

All is made before they fork, as `gunicorn --preload` and celery do.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from typing import Any

import celery
import numpy as np

from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.serving import MicroBatcher

_PICTURE = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)

_batcher = MicroBatcher(ImageEncoder("tiny-shapes", device="cpu"))
_graph = ImageEncoder("tiny-shapes", backend="onnx", device="cpu")
_texts = TextEncoder("tiny-shapes", device="cpu")


def _answer() -> dict[str, float]:
    """Encode with all of them; the process, and the sum of all numbers."""
    vectors = [_batcher.encode(_PICTURE), *_texts.encode(["a red circle", "a blue star"])]
    vectors += [*_graph.encode([_PICTURE] * 3)]
    return {"process": os.getpid(), "sum": float(np.sum(vectors))}


# Threads and pools of the runtimes have started when the server forks.
_answer()


def wsgi(environ: dict[str, Any], start_response: Callable[[str, list[tuple[str, str]]], object]) -> Iterable[bytes]:
    """Answer a request, for gunicorn."""
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(_answer()).encode()]


async def asgi(scope: dict[str, Any], receive: Callable[[], Any], send: Callable[[dict[str, Any]], Any]) -> None:
    """Answer a request, for uvicorn."""
    if scope["type"] != "http":
        raise NotImplementedError
    vector = await _batcher.aencode(_PICTURE)
    body = json.dumps(_answer() | {"length": float(np.linalg.norm(vector))}).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


tasks = celery.Celery("tests.programs.processes.apps")
tasks.conf.update(
    broker_url="filesystem://",
    broker_transport_options=dict.fromkeys(
        ("data_folder_in", "data_folder_out", "control_folder"), os.environ["QUEUE"]
    ),
    result_backend=f"file://{os.environ['RESULTS']}",
    worker_hijack_root_logger=False,
)


@tasks.task(name="answer")  # type: ignore[untyped-decorator]  # celery has no types
def answer() -> dict[str, float]:
    """Answer a task, for celery."""
    return _answer()
