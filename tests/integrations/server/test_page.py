"""docs/how-to/serve.md: its client and its application do what they say."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import ImageEncoder, TextEncoder
from tests.integrations.pages import code_blocks
from tests.integrations.server.client import asking, data_uri, run, vectors_of
from tests.integrations.server.server_process import Server

PAGE = "how-to/serve.md"


def test_the_client_of_the_page_gets_a_text_and_an_image(
    server: Server,
    gallery: dict[str, Path],
    images: ImageEncoder,
    texts: TextEncoder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "red-star.png").write_bytes(gallery["a red star"].read_bytes())
    monkeypatch.chdir(tmp_path)
    (program,) = code_blocks(PAGE, "py")
    names: dict[str, Any] = {}
    exec(program.replace("http://localhost:8000", server.address), names)  # noqa: S102 - our own page
    np.testing.assert_allclose(names["text"], texts.encode("a red star"), atol=1e-5)
    np.testing.assert_allclose(names["image"], images.encode(gallery["a red star"]), atol=1e-5)


def test_the_application_of_the_page_has_its_own_name_loader_and_limits() -> None:
    (program,) = (block for block in code_blocks(PAGE, "python") if "create_app" in block)
    names: dict[str, Any] = {}
    exec(program, names)  # noqa: S102 - our own page
    file = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(file, "GIF")

    async def ask() -> None:
        async with asking(names["app"]()) as client:
            inputs = [data_uri(file.getvalue())] * 257
            most, more = [
                await client.post("/v1/embeddings", json={"model": "shapes", "input": inputs[:count]})
                for count in (256, 257)
            ]
            assert vectors_of(most).shape == (256, 64)
            assert more.status_code == 400

    run(ask())
