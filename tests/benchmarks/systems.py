"""What is compared: each system as a function that loads a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder import ImageEncoder, ImageLoader

BATCH = 32


@dataclass(frozen=True)
class System:
    """A loaded encoder.

    Attributes:
        encode: makes vectors `(n, 512)` of the files at n paths.
        load: makes pixels of the file at a path, where the system can be asked for that.
        model: runs the model alone on `BATCH` pictures, likewise.
    """

    encode: Callable[[Sequence[Path]], NDArray[np.float32]]
    load: Callable[[Path], object] | None = None
    model: Callable[[], object] | None = None


Load: TypeAlias = Callable[[Path], System]


def _sentence_transformers(checkpoint: Path, dtype: str) -> System:
    import torch
    from PIL import Image
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import CLIPModel

    model = SentenceTransformer(modules=[CLIPModel(str(checkpoint))], device="cpu").to(getattr(torch, dtype))

    def encode(paths: Sequence[Path]) -> NDArray[np.float32]:
        rows = []
        # All at once it would keep every decoded picture in memory, and slow down.
        for start in range(0, len(paths), BATCH):
            images = [Image.open(path) for path in paths[start : start + BATCH]]
            rows.append(model.encode(images, batch_size=BATCH, normalize_embeddings=True, show_progress_bar=False))
        return np.concatenate(rows)

    return System(encode)


def _transformers(checkpoint: Path) -> System:
    import torch
    from PIL import Image
    from transformers import CLIPImageProcessorPil, CLIPModel

    model, processor = CLIPModel.from_pretrained(checkpoint).eval(), CLIPImageProcessorPil.from_pretrained(checkpoint)

    @torch.inference_mode()
    def encode(paths: Sequence[Path]) -> NDArray[np.float32]:
        rows = []
        for start in range(0, len(paths), BATCH):
            images: list[Image.Image] = [Image.open(path) for path in paths[start : start + BATCH]]
            features = model.get_image_features(**processor(images, return_tensors="pt")).pooler_output
            rows.append(torch.nn.functional.normalize(features).numpy())
        return np.concatenate(rows)

    return System(encode)


def _fastembed(checkpoint: Path) -> System:
    from fastembed import ImageEmbedding

    model = ImageEmbedding("Qdrant/clip-ViT-B-32-vision", specific_model_path=str(checkpoint / "fastembed"))
    return System(lambda paths: np.stack(list(model.embed(list(paths), batch_size=BATCH))))


def _ours(checkpoint: Path, backend: str, dtype: str, exact: bool = False) -> System:
    encoder = ImageEncoder(checkpoint, backend=backend, dtype=dtype, device="cpu", loader=ImageLoader(exact=exact))
    size = encoder.backend.image_size
    assert size is not None
    noise = np.random.default_rng(0).integers(0, 256, (BATCH, *size, 3), dtype=np.uint8)

    def load(path: Path) -> object:
        return encoder.preprocess(encoder.loader(path, model_size=size))

    return System(
        encode=partial(encoder.encode, batch_size=BATCH),
        load=load,
        model=partial(encoder.backend, noise, output="pooled", device="cpu"),
    )


EXACT = "torch float32 exact"
"""The system that the vectors of all others are compared with."""

SYSTEMS: Mapping[str, Load] = MappingProxyType(
    {
        "sentence-transformers float32": partial(_sentence_transformers, dtype="float32"),
        "sentence-transformers bfloat16": partial(_sentence_transformers, dtype="bfloat16"),
        "transformers float32": _transformers,
        "fastembed float32": _fastembed,
        EXACT: partial(_ours, backend="torch", dtype="float32", exact=True),
        "torch float32": partial(_ours, backend="torch", dtype="float32"),
        "torch bfloat16": partial(_ours, backend="torch", dtype="bfloat16"),
        "onnx float32": partial(_ours, backend="onnx", dtype="float32"),
        "onnx int8": partial(_ours, backend="onnx", dtype="int8"),
        "openvino float32": partial(_ours, backend="openvino", dtype="float32"),
        "openvino bfloat16": partial(_ours, backend="openvino", dtype="bfloat16"),
        "openvino int8": partial(_ours, backend="openvino", dtype="int8"),
    }
)
"""The first is what the speed of all others is compared with."""
