"""docs/how-to/serve.md: its server is started for real, and answers a hundred uploads at a time."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest

from clip_image_encoder import ImageEncoder
from tests.integrations.pages import code_blocks
from tests.integrations.ports import free_port


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the page's server listens: its FastAPI program, and below it the one for Prometheus."""
    blocks = code_blocks("how-to/serve.md", "python")
    folder = tmp_path_factory.mktemp("server")
    (folder / "server.py").write_text("\n".join(block for block in blocks if "app" in block))
    port = str(free_port())
    command = [sys.executable, "-m", "uvicorn", "server:app", "--port", port, "--log-level", "warning"]
    server = subprocess.Popen(command, cwd=folder)
    try:
        wait_for(f"http://127.0.0.1:{port}/docs", server)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        # It closes the batcher, and then ends by the signal.
        assert server.wait(30) in (0, -signal.SIGTERM)


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server has ended"
        try:
            httpx.get(url).raise_for_status()
        except httpx.TransportError:
            continue
        return
    pytest.fail("the server does not answer")


def metric(address: str, name: str) -> float:
    (value,) = re.findall(rf"^{name} (\S+)$", httpx.get(f"{address}/metrics/").text, re.MULTILINE)
    return float(value)


async def upload(address: str, contents: list[bytes]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=len(contents))
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        calls = [client.post(f"{address}/embed", files={"file": ("upload", content)}) for content in contents]
        return await asyncio.gather(*calls)


def test_a_hundred_uploads_at_a_time_each_get_their_own_vector(address: str, gallery: dict[str, Path]) -> None:
    files = [list(gallery.values())[number % len(gallery)] for number in range(100)]
    batches_before = metric(address, "clip_batches_total")
    responses = asyncio.run(upload(address, [file.read_bytes() for file in files]))
    assert {response.status_code for response in responses} == {200}
    expected = ImageEncoder("tiny-shapes").encode(files)
    np.testing.assert_allclose([response.json() for response in responses], expected, atol=1e-5)
    assert metric(address, "clip_batches_total") - batches_before < 50


def test_a_bad_upload_is_the_senders_fault_and_nobody_elses(address: str, gallery: dict[str, Path]) -> None:
    good = gallery["a red star"].read_bytes()
    responses = asyncio.run(upload(address, [good, b"no picture", good]))
    assert [response.status_code for response in responses] == [200, 422, 200]
    assert "not an image in a known format" in responses[1].json()["detail"]


def test_prometheus_reads_counts_and_seconds_by_stage(address: str, gallery: dict[str, Path]) -> None:
    asyncio.run(upload(address, [gallery["a red star"].read_bytes(), b"no picture"]))
    assert metric(address, "clip_calls_total") >= 2
    assert metric(address, "clip_failures_total") >= 1
    assert metric(address, "clip_queue_depth") == 0
    assert metric(address, 'clip_seconds_total{stage="encoding"}') > 0
