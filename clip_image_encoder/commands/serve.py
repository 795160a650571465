"""The command `clip-image-encoder serve MODEL`: answer OpenAI's `/v1/embeddings` for texts and images over HTTP."""

from __future__ import annotations

import argparse
from dataclasses import replace
from importlib.util import find_spec

from clip_image_encoder.commands._command import Answer, Commands, add_command, add_load_in, add_runtime
from clip_image_encoder.errors import MissingExtraError

__all__ = ["add_serve"]

_SUMMARY = "Serve a model's vectors of texts and images over HTTP, as OpenAI's /v1/embeddings does."
_DETAILS = """\
SIGTERM and Ctrl-C end the server when the requests that it has begun are answered. It needs:
python -m pip install 'clip-image-encoder[server]'

examples:
  clip-image-encoder serve openai/clip-vit-base-patch32
  clip-image-encoder serve openai/clip-vit-base-patch32 --host 0.0.0.0 --port 80 --device cuda
  clip-image-encoder serve facebook/dinov2-base --images-only
"""
_NEEDS = ("fastapi", "prometheus_client", "uvicorn")
_IDLE_SECONDS = 75
"""Longer than clients keep idle connections, so that none sends a request on a connection that is being closed."""


def add_serve(commands: Commands) -> None:
    """Add the command `serve` to the command line's parser."""
    parser = add_command(commands, "serve", run=_serve, summary=_SUMMARY, details=_DETAILS)
    parser.add_argument("model", metavar="MODEL", help='Hub id, folder or "tiny-shapes".')
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="Address to listen at; 0.0.0.0 is every one of this machine; default: %(default)s, this machine only.",
    )
    parser.add_argument(
        "--port",
        type=int,
        default=8000,
        metavar="N",
        help="Port to listen at, 0 for a free one; default: %(default)s.",
    )
    parser.add_argument("--name", help="Model that requests ask for; default: MODEL, or the name of its folder.")
    add_runtime(parser)
    add_load_in(parser)
    parser.add_argument("--revision", metavar="NAME", help="Branch, tag or commit on the hub; default: the newest.")
    parser.add_argument(
        "--images-only", action="store_true", help="Leave the text tower out; default: encode texts, too."
    )
    parser.add_argument(
        "--urls",
        action="store_true",
        help="Fetch images behind http(s) URLs, from public hosts only; default: refuse them.",
    )
    parser.add_argument(
        "--max-batch-size",
        type=int,
        default=32,
        metavar="N",
        help="Number of inputs that pass the model at a time; default: %(default)s.",
    )
    parser.add_argument(
        "--max-body",
        type=int,
        default=20_000_000,
        metavar="BYTES",
        help="Size of a request's body; a larger one gets status 413; default: %(default)s.",
    )
    parser.add_argument(
        "--max-inputs",
        type=int,
        default=2048,
        metavar="N",
        help="Number of inputs in a request; more get status 400; default: %(default)s.",
    )
    parser.add_argument(
        "--max-waiting",
        type=int,
        default=1024,
        metavar="N",
        help="Number of inputs that wait at a time; more get status 429; default: %(default)s.",
    )
    parser.add_argument(
        "--stop-after",
        type=int,
        default=30,
        metavar="SECONDS",
        help="Time to answer what has begun when the server is asked to end; default: %(default)s.",
    )


def _serve(options: argparse.Namespace) -> Answer:
    for package in _NEEDS:
        if find_spec(package) is None:
            raise MissingExtraError(f"serve needs {package}: python -m pip install 'clip-image-encoder[server]'")
    import uvicorn

    from clip_image_encoder.encoder import ImageEncoder
    from clip_image_encoder.images import UrlPolicy
    from clip_image_encoder.integrations.server import STRICT_LOADER, Limits, create_app, name_of
    from clip_image_encoder.text import TextEncoder

    limits = Limits(
        max_body=options.max_body,
        max_bodies=max(options.max_body, Limits.max_bodies),
        max_inputs=options.max_inputs,
        max_waiting=options.max_waiting,
    )
    settings = {name: getattr(options, name) for name in ("backend", "device", "dtype", "revision")}
    loader = replace(STRICT_LOADER, urls=UrlPolicy()) if options.urls else STRICT_LOADER
    app = create_app(
        ImageEncoder(options.model, loader=loader, load_in=options.load_in, **settings),
        None if options.images_only else TextEncoder(options.model, **settings),
        name=options.name or name_of(options.model),
        limits=limits,
        max_batch_size=options.max_batch_size,
    )
    uvicorn.run(
        app,
        host=options.host,
        port=options.port,
        access_log=False,
        timeout_keep_alive=_IDLE_SECONDS,
        timeout_graceful_shutdown=options.stop_after,
    )
    return Answer(text="stopped")
