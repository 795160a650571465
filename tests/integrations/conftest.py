"""Each integration's tests are collected where what they need is installed: in its own nox session."""

from __future__ import annotations

import io
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from clip_image_encoder import Output
from clip_image_encoder.arrays import Pixels, Tokens, Vectors
from clip_image_encoder.backends.torch import TorchBackend
from clip_image_encoder.export import export
from clip_image_encoder.tiny_shapes.draw import Scene, draw

NEEDS = {
    "chroma": "chromadb",
    "daft": "daft",
    "datasets": "datasets",
    "elasticsearch": "elasticsearch",
    "fastapi": "fastapi",
    "fiftyone": "fiftyone",
    "haystack": "haystack",
    "jina": "jina",
    "lancedb": "lancedb",
    "langchain": "langchain_chroma",
    "llama_index": "llama_index",
    "milvus": "pymilvus",
    "mteb": "mteb",
    "postgres": "pgserver",
    "qdrant": "qdrant_client",
    "ray": "ray",
    "readers": "duckdb",
    "sentence_transformers": "sentence_transformers",
    "server": "openai",
    "sklearn": "sklearn",
    "videos": "av",
}
collect_ignore = [folder for folder, package in NEEDS.items() if find_spec(package) is None]


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Drawings of nine things, by their names; the blue star's is a JPEG that lies on its side."""
    folder = tmp_path_factory.mktemp("gallery")
    files: dict[str, Path] = {}
    for color in ("red", "green", "blue"):
        for shape in ("circle", "star", "heart"):
            picture, name = draw(Scene(color=color, shape=shape)), f"a {color} {shape}"
            files[name] = folder / f"{color}-{shape}.png"
            picture.save(files[name])
    files["a blue star"] = folder / "blue-star.jpg"
    files["a blue star"].write_bytes(lying(draw(Scene(color="blue", shape="star"))))
    return files


@pytest.fixture(scope="session")
def bad_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that is called an image, and is none."""
    file = tmp_path_factory.mktemp("bad") / "bad.png"
    file.write_bytes(b"no picture")
    return file


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny-shapes as an exported folder for ONNX Runtime; torch can't run it."""
    folder = tmp_path_factory.mktemp("exported") / "tiny-shapes"
    export("tiny-shapes", folder, backend="onnx")
    return folder


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of images in each forward pass of a test, in torch."""
    run = TorchBackend.__call__
    sizes: list[int] = []

    def counted(self: TorchBackend, pixels: Pixels, /, *, output: Output, device: str) -> Tokens | Vectors:
        sizes.append(len(pixels))
        return run(self, pixels, output=output, device=device)

    monkeypatch.setattr(TorchBackend, "__call__", counted)
    return sizes


def lying(picture: Image.Image) -> bytes:
    """Return a JPEG that a viewer turns by a quarter to show the image."""
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    picture.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", quality=95, exif=exif)
    return file.getvalue()
