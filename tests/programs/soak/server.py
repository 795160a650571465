"""Send 10,000 good and bad requests to a server and watch its memory: `nox -s soak_server`, two minutes.

Fails if an answer is wrong or missing, or if the server grows by 50 MB or more after its first 2,000 requests. Then
compares its speed with that of the batchers alone.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from itertools import islice

import numpy as np

from clip_image_encoder import ImageEncoder, TextEncoder
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.tiny_shapes.draw import draw, random_scene
from tests.integrations.server.client import MODEL, data_uri
from tests.integrations.server.load import CALLERS, Cases, Outcomes, send
from tests.integrations.server.server_process import Server, serving
from tests.integrations.server.wire import Connection

_COUNT, _SETTLED, _MOST = 10_000, 2_000, 50.0
_MEASURED = 2_000


def main(count: int = _COUNT) -> None:
    """Send them, then measure."""
    images, texts = ImageEncoder(MODEL), TextEncoder(MODEL)
    with serving("--max-body", "1000000", "--max-waiting", "256") as server:
        soak(server, images, texts, count)
    asyncio.run(measure(images, texts))


def soak(server: Server, images: ImageEncoder, texts: TextEncoder, count: int) -> None:
    """Send requests, and print the memory after every 1,000."""
    cases, outcomes, settled = iter(Cases(images, texts)), Outcomes(), 0.0
    begun = time.perf_counter()
    for done in range(1_000, count + 1, 1_000):
        asyncio.run(send(server.address, list(islice(cases, 1_000)), outcomes))
        used = server.metric("process_resident_memory_bytes") / 1e6
        settled = used if done <= _SETTLED else settled
        print(
            f"{done:6,} requests  {outcomes.right.total():6,} right  {len(outcomes.wrong)} wrong  {used:6.1f} MB",
            flush=True,
        )
    seconds = time.perf_counter() - begun
    p50, p99 = np.percentile(outcomes.seconds, (50, 99)) * 1000
    print(f"{count / seconds:.0f} requests/s, p50 {p50:.0f} ms, p99 {p99:.0f} ms, 429 {outcomes.busy} times")
    print(f"by kind: {dict(outcomes.right.most_common())}")
    print(
        f"grew by {used - settled:.1f} MB after the first {_SETTLED:,}; "
        f"{server.metric('process_open_fds'):.0f} files are open"
    )
    print(server.log.read_text("utf-8"))
    if outcomes.wrong or outcomes.right.total() != count or used - settled >= _MOST:
        raise SystemExit("\n".join(outcomes.wrong[:20]) or f"that is {_MOST:.0f} MB or more")


async def measure(images: ImageEncoder, texts: TextEncoder) -> None:
    """Print how many inputs a second the server and the batchers alone encode, one in each call."""
    generator = np.random.default_rng(0)
    uris = [data_uri(draw(random_scene(generator))) for _ in range(100)]
    inputs = {"text": [f"{number} stars" for number in range(100)], "image": uris}
    with serving() as server:
        async with AsyncExitStack() as stack:
            free = [await stack.enter_async_context(Connection(server.address)) for _ in range(CALLERS)]

            async def ask(given: str) -> None:
                connection = free.pop()
                body = {"model": MODEL, "input": given, "encoding_format": "base64"}
                assert (await connection.ask(json.dumps(body).encode())).status == 200
                free.append(connection)

            for kind, several in inputs.items():
                await drive(f"server, {kind}", ask, several)
    with MicroBatcher(images) as image_batcher, MicroBatcher(texts) as text_batcher:
        await drive("MicroBatcher, text", text_batcher.aencode, inputs["text"])
        await drive("MicroBatcher, image", image_batcher.aencode, inputs["image"])


async def drive(name: str, encode: Callable[[str], Awaitable[object]], inputs: list[str]) -> None:
    """Call from as many callers as in the load, and print the rate and the times of the calls."""
    numbers, seconds = iter(range(_MEASURED)), []

    async def call() -> None:
        for number in numbers:
            begun = time.perf_counter()
            await encode(inputs[number % len(inputs)])
            seconds.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    await asyncio.gather(*(call() for _ in range(CALLERS)))
    rate = _MEASURED / (time.perf_counter() - begun)
    p50, p99 = np.percentile(seconds, (50, 99)) * 1000
    print(f"{name:20} {rate:6.0f}/s  p50 {p50:6.1f} ms  p99 {p99:6.1f} ms", flush=True)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
