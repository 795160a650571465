"""docs/how-to/serve.md: its server of uploads is started for real, and answers a hundred at a time."""

from __future__ import annotations

import asyncio
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
    """Where the page's server listens."""
    (program,) = (block for block in code_blocks("how-to/serve.md", "python") if "UploadFile" in block)
    folder = tmp_path_factory.mktemp("server")
    (folder / "uploads.py").write_text(program)
    port = str(free_port())
    command = [sys.executable, "-m", "uvicorn", "uploads:app", "--port", port, "--log-level", "warning"]
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


async def upload(address: str, contents: list[bytes]) -> list[httpx.Response]:
    limits = httpx.Limits(max_connections=len(contents))
    async with httpx.AsyncClient(limits=limits, timeout=60) as client:
        calls = [client.post(f"{address}/embed", files={"file": ("upload", content)}) for content in contents]
        return await asyncio.gather(*calls)


def test_a_hundred_uploads_at_a_time_each_get_their_own_vector(address: str, gallery: dict[str, Path]) -> None:
    files = [list(gallery.values())[number % len(gallery)] for number in range(100)]
    responses = asyncio.run(upload(address, [file.read_bytes() for file in files]))
    assert {response.status_code for response in responses} == {200}
    expected = ImageEncoder("tiny-shapes").encode(files)
    np.testing.assert_allclose([response.json() for response in responses], expected, atol=1e-5)


def test_a_bad_upload_is_the_senders_fault_and_nobody_elses(address: str, gallery: dict[str, Path]) -> None:
    good = gallery["a red star"].read_bytes()
    responses = asyncio.run(upload(address, [good, b"no picture", good]))
    assert [response.status_code for response in responses] == [200, 422, 200]
    assert "not an image in a known format" in responses[1].json()["detail"]
