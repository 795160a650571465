"""What is compared: each system as a function that loads a checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from clip_image_encoder import ImageEncoder, ImageLoader, TextEncoder


@dataclass(frozen=True)
class System:
    """A loaded encoder.

    Attributes:
        encode: makes vectors `(n, d)` of n paths or texts, in batches of a size.
        load: makes pixels of the file at a path, where the system can be asked for that.
        model: returns what runs the model alone on a number of images, likewise.
    """

    encode: Callable[[Sequence[Any], int], NDArray[np.float32]]
    load: Callable[[Path], object] | None = None
    model: Callable[[int], Callable[[], object]] | None = None


Load: TypeAlias = Callable[[Path], System]


def sentence_transformers(checkpoint: Path, dtype: str, *, images: bool, device: str = "cpu") -> System:
    """Load a checkpoint's image or text encoder as sentence-transformers has it."""
    import torch
    from PIL import Image
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer

    model = SentenceTransformer(modules=[Transformer(str(checkpoint))], device=device).to(getattr(torch, dtype))

    def encode(inputs: Sequence[Any], batch: int) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.encode(
            inputs, batch_size=batch, normalize_embeddings=True, show_progress_bar=False
        )
        return vectors

    def encode_files(paths: Sequence[Path], batch: int) -> NDArray[np.float32]:
        # All at once it would keep every decoded image in memory, and slow down.
        parts = (paths[start : start + batch] for start in range(0, len(paths), batch))
        return np.concatenate([encode([Image.open(path) for path in part], batch) for part in parts])

    return System(encode_files if images else encode)


def _transformers(checkpoint: Path) -> System:
    import torch
    from PIL import Image
    from transformers import CLIPImageProcessorPil, CLIPModel

    model, processor = CLIPModel.from_pretrained(checkpoint).eval(), CLIPImageProcessorPil.from_pretrained(checkpoint)

    @torch.inference_mode()
    def encode(paths: Sequence[Path], batch: int) -> NDArray[np.float32]:
        rows = []
        for start in range(0, len(paths), batch):
            images: list[Image.Image] = [Image.open(path) for path in paths[start : start + batch]]
            features = model.get_image_features(**processor(images, return_tensors="pt")).pooler_output
            rows.append(torch.nn.functional.normalize(features).numpy())
        return np.concatenate(rows)

    return System(encode)


def _fastembed(checkpoint: Path) -> System:
    from fastembed import ImageEmbedding

    model = ImageEmbedding("Qdrant/clip-ViT-B-32-vision", specific_model_path=str(checkpoint / "fastembed"))
    return System(lambda paths, batch: np.stack(list(model.embed(list(paths), batch_size=batch))))


def _fastembed_texts(checkpoint: Path) -> System:
    from fastembed import TextEmbedding

    model = TextEmbedding("Qdrant/clip-ViT-B-32-text", specific_model_path=str(checkpoint / "fastembed-texts"))
    return System(lambda texts, batch: np.stack(list(model.embed(list(texts), batch_size=batch))))


def _ours(checkpoint: Path, backend: str, dtype: str, exact: bool = False) -> System:
    encoder = ImageEncoder(checkpoint, backend=backend, dtype=dtype, device="cpu", loader=ImageLoader(exact=exact))
    size = encoder.backend.image_size
    assert size is not None

    def load(path: Path) -> object:
        return encoder.preprocess(encoder.loader(path, model_size=size))

    def model(count: int) -> Callable[[], object]:
        noise = np.random.default_rng(0).integers(0, 256, (count, *size, 3), dtype=np.uint8)
        return partial(encoder.backend, noise, output="pooled", device="cpu")

    return System(lambda paths, batch: encoder.encode(paths, batch_size=batch), load=load, model=model)


def _our_texts(checkpoint: Path, backend: str, dtype: str) -> System:
    encoder = TextEncoder(checkpoint, backend=backend, dtype=dtype, device="cpu")
    return System(lambda texts, batch: encoder.encode(texts, batch_size=batch))


FIRST = "sentence-transformers float32"
"""The system that the speed of all others is compared with."""

EXACT = "torch float32 exact"
"""The system that the vectors of all others are compared with."""

IMAGES: Mapping[str, Load] = MappingProxyType(
    {
        FIRST: partial(sentence_transformers, dtype="float32", images=True),
        "sentence-transformers bfloat16": partial(sentence_transformers, dtype="bfloat16", images=True),
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

TEXTS: Mapping[str, Load] = MappingProxyType(
    {
        FIRST: partial(sentence_transformers, dtype="float32", images=False),
        "sentence-transformers bfloat16": partial(sentence_transformers, dtype="bfloat16", images=False),
        "fastembed float32": _fastembed_texts,
        "torch float32": partial(_our_texts, backend="torch", dtype="float32"),
        "torch bfloat16": partial(_our_texts, backend="torch", dtype="bfloat16"),
        "onnx float32": partial(_our_texts, backend="onnx", dtype="float32"),
        "openvino float32": partial(_our_texts, backend="openvino", dtype="float32"),
        "openvino bfloat16": partial(_our_texts, backend="openvino", dtype="bfloat16"),
    }
)
