"""What is compared: each package as its documentation says that a file becomes a vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["SYSTEMS", "Encode"]

Encode: TypeAlias = Callable[[Path], NDArray[np.float32]]


def _ours(checkpoint: Path) -> Encode:
    from clip_image_encoder import ImageEncoder

    return ImageEncoder(checkpoint, device="cpu").encode


def _sentence_transformers(checkpoint: Path, open_file: Callable[[Path], object]) -> Encode:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(checkpoint), device="cpu")
    return lambda path: np.asarray(model.encode(open_file(path), normalize_embeddings=True, show_progress_bar=False))


def _transformers(checkpoint: Path) -> Encode:
    import torch
    from transformers import CLIPImageProcessorPil, CLIPModel

    model, processor = CLIPModel.from_pretrained(checkpoint).eval(), CLIPImageProcessorPil.from_pretrained(checkpoint)

    @torch.inference_mode()
    def encode(path: Path) -> NDArray[np.float32]:
        features = model.get_image_features(**processor(Image.open(path), return_tensors="pt")).pooler_output
        return np.asarray(torch.nn.functional.normalize(features)[0])

    return encode


def _fastembed(checkpoint: Path) -> Encode:
    from fastembed import ImageEmbedding

    model = ImageEmbedding("Qdrant/clip-ViT-B-32-vision", specific_model_path=str(checkpoint / "fastembed"))
    return lambda path: np.asarray(next(iter(model.embed(path))), dtype=np.float32)


SYSTEMS: Mapping[str, Callable[[Path], Encode]] = MappingProxyType(
    {
        "clip-image-encoder": _ours,
        "sentence-transformers, str": partial(_sentence_transformers, open_file=str),  # it takes no Path
        "sentence-transformers, PIL image": partial(_sentence_transformers, open_file=Image.open),
        "transformers": _transformers,
        "fastembed": _fastembed,
    }
)
