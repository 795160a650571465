"""Every family, backend, pooling and kind of input: fingerprints and vectors, to compare two states of the code.

Run it before a change and after it, on one machine, with the same folder:

    nox -s vectors -- FOLDER before.json
    nox -s vectors -- FOLDER after.json --against before.json

The checkpoints are made once, in the folder, and read again later. The exit status is 1 where something differs.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import pickle
import sys
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder import (
    ClassTokenPooling,
    ImageEncoder,
    ImageLoader,
    MeanPatchesPooling,
    PretrainedPooling,
    TextEncoder,
)

from .checkpoints import NAMES, make_checkpoint

POOLINGS = {"pretrained": PretrainedPooling(), "class": ClassTokenPooling(), "patches": MeanPatchesPooling()}
RUNTIMES = (("torch", "float32"), ("torch", "bfloat16"), ("onnx", "float32"), ("openvino", "float32"))
FITTED = (("onnx", "int8"), ("openvino", "int8"))
TEXTS = ["a red circle", "A Red, circle!", "", "on the blue star " * 40, "ein grüner Kreis 🙂"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--against", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    table: dict[str, str] = {}
    for name, value in cases(options.folder):
        table[name] = value
        print(name, value, flush=True)
    options.output.write_text(json.dumps(table, indent=1))
    if options.against is None:
        return 0
    before = json.loads(options.against.read_text())
    different = [name for name in before | table if before.get(name) != table.get(name)]
    print(f"{len(different)} of {len(before | table)} differ", *different, sep="\n")
    return 1 if different else 0


def cases(folder: Path) -> Iterator[tuple[str, str]]:
    for name in NAMES:
        model = make_checkpoint(name, folder)
        for backend, dtype in RUNTIMES + (FITTED if name == "tiny-shapes" else ()):
            yield from vision(f"{name} {backend} {dtype}", model, backend, dtype)
        yield from inputs(name, model)
        yield from texts(name, model)


def vision(case: str, model: str, backend: str, dtype: str) -> Iterator[tuple[str, str]]:
    for name, pooling in POOLINGS.items():

        def encoder(pooling: Any = pooling) -> ImageEncoder:
            return ImageEncoder(model, backend=backend, dtype=dtype, pooling=pooling, device="cpu")

        yield f"{case} {name} fingerprint", said(lambda: encoder().fingerprint)
        yield f"{case} {name}", said(lambda: digest(encoder().encode(pictures(), 3)))
    yield f"{case} own numbers", said(lambda: digest(encoder(None).encode(pictures(), 2, normalize=False)))


def inputs(case: str, model: str) -> Iterator[tuple[str, str]]:
    """Each way in, and each way of encoding."""
    try:
        encoder = ImageEncoder(model, device="cpu")
    except ValueError as error:
        yield f"{case} inputs", type(error).__name__
        return
    for name, item in ways_in().items():
        yield f"{case} {name}", said(partial(encode_one, encoder, item))
    many: Any = ways_in()["array"]
    yield f"{case} four axes", said(lambda: digest(encoder.encode(np.stack([many] * 3))))
    yield f"{case} failures", said(lambda: digest(encoder.encode([many, b"", many], on_error="nan")))
    yield f"{case} stream", said(lambda: digest(np.concatenate([b.embeddings for b in encoder.stream(pictures(), 3)])))
    yield f"{case} pickled", said(lambda: digest(pickle.loads(pickle.dumps(encoder)).encode(pictures())))
    plain = Normalized(encoder.backend.image_size or (32, 32))
    other = said(lambda: digest(ImageEncoder(model, preprocess=plain, device="cpu").encode(pictures())))
    yield f"{case} plain preprocess", other
    yield f"{case} loader fingerprint", ImageEncoder(model, loader=ImageLoader(exact=True), device="cpu").fingerprint


def texts(case: str, model: str) -> Iterator[tuple[str, str]]:
    for dtype in ("float32", "bfloat16"):

        def encoder(dtype: str = dtype) -> TextEncoder:
            return TextEncoder(model, dtype=dtype, device="cpu")

        yield f"{case} texts {dtype} fingerprint", said(lambda: encoder().fingerprint)
        yield f"{case} texts {dtype}", said(lambda: digest(encoder().encode(TEXTS, 2)))
        yield f"{case} texts {dtype} own numbers", said(lambda: digest(encoder().encode(TEXTS, normalize=False)))
        yield f"{case} one text {dtype}", said(lambda: digest(encoder().encode(TEXTS[0])))


class Normalized:
    """What open_clip's transform gives: float32 `(3, H, W)`."""

    fingerprint = "normalized"

    def __init__(self, size: tuple[int, int]) -> None:
        self.height_width = size

    def __call__(self, image: Image.Image) -> NDArray[np.float32]:
        height, width = self.height_width
        pixels = np.asarray(image.resize((width, height)), np.float32) / 255 - 0.5
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def pictures() -> list[Image.Image]:
    generator = np.random.default_rng(7)
    sizes = [(90, 64), (64, 90), (300, 200), (40, 40), (1, 70), (33, 500), (64, 64)]
    noise = [generator.integers(0, 256, (height // 4 + 1, width // 4 + 1, 3), np.uint8) for width, height in sizes]
    return [Image.fromarray(part).resize(size) for part, size in zip(noise, sizes, strict=True)]


def ways_in() -> dict[str, Any]:
    image = pictures()[2]
    array = np.asarray(image)
    ways: dict[str, Any] = {"array": array, "floats": array.astype(np.float32) / 255, "pil": image}
    ways["tensor"] = torch.from_numpy(array.transpose(2, 0, 1).copy())
    ways["grey"], ways["alpha"] = array[:, :, 0], image.convert("RGBA")
    for kind in ("PNG", "JPEG", "BMP", "WEBP"):
        image.save(file := io.BytesIO(), kind)
        ways[kind] = file.getvalue()
    ways["file object"] = io.BytesIO(ways["PNG"])
    return ways


def said(make: Callable[[], str]) -> str:
    """Return what comes, or the kind of error that comes instead."""
    try:
        return make()
    except Exception as error:  # noqa: BLE001 - what is refused is part of the table
        return type(error).__name__


def encode_one(encoder: ImageEncoder, item: Any) -> str:
    return digest(encoder.encode(item))


def digest(vectors: NDArray[np.float32]) -> str:
    assert vectors.dtype == np.float32
    return f"{vectors.shape} {hashlib.sha256(vectors.tobytes()).hexdigest()[:24]}"


if __name__ == "__main__":
    sys.exit(main())
