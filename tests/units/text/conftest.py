"""What the tests of the text tower share: small models with a tokenizer, saved to disk."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tokenizers import normalizers
from torch import Tensor
from transformers import (
    AlignConfig,
    AlignModel,
    AltCLIPConfig,
    AltCLIPModel,
    AutoTokenizer,
    BlipConfig,
    BlipForImageTextRetrieval,
    ChineseCLIPConfig,
    ChineseCLIPModel,
    CLIPConfig,
    CLIPModel,
    CLIPSegConfig,
    CLIPSegForImageSegmentation,
    CLIPTextConfig,
    CLIPTextModelWithProjection,
    Dinov2Config,
    Dinov2Model,
    MetaClip2Config,
    MetaClip2Model,
    MetaClip2TextConfig,
    MetaClip2TextModelWithProjection,
    Siglip2Config,
    Siglip2Model,
    Siglip2TextConfig,
    Siglip2TextModel,
    SiglipConfig,
    SiglipModel,
    SiglipTextConfig,
    SiglipTextModel,
    ViTConfig,
    ViTModel,
)

from clip_image_encoder.text import TextEncoder
from tests.units.one_thread import one_thread as one_thread

from . import xlm_tokenizer
from .relatives import RELATIVES, pieces, vocabulary
from .tokenizer_files import CLIP_SIZE, SIZE, WRITERS

LENGTH = 12

_SHAPE: dict[str, Any] = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
}
_VISION = _SHAPE | {"image_size": 16, "patch_size": 8}
_TEXT = _SHAPE | {"max_position_embeddings": LENGTH}
_CLIP_TEXT = _TEXT | {
    "vocab_size": CLIP_SIZE,
    "bos_token_id": CLIP_SIZE - 2,
    "eos_token_id": CLIP_SIZE - 1,
    "pad_token_id": CLIP_SIZE - 1,
}
_SIGLIP_TEXT = _TEXT | {"vocab_size": SIZE, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 1}
_BERT = _SHAPE | {"vocab_size": len(vocabulary()), "max_position_embeddings": LENGTH}
_ROBERTA = _SHAPE | {"vocab_size": len(pieces()), "max_position_embeddings": LENGTH + 2, "project_dim": 20}
_XLM = _TEXT | {"vocab_size": SIZE} | xlm_tokenizer.SPECIAL

_MODELS: dict[str, Callable[[], Any]] = {
    "clip": lambda: CLIPModel(CLIPConfig(text_config=_CLIP_TEXT, vision_config=_VISION, projection_dim=16)),
    "clip_text": lambda: CLIPTextModelWithProjection(CLIPTextConfig(**_CLIP_TEXT, projection_dim=16)),
    "chinese_clip": lambda: ChineseCLIPModel(
        ChineseCLIPConfig(text_config=_BERT, vision_config=_VISION, projection_dim=16)
    ),
    "altclip": lambda: AltCLIPModel(AltCLIPConfig(text_config=_ROBERTA, vision_config=_VISION, projection_dim=16)),
    "clipseg": lambda: CLIPSegForImageSegmentation(
        CLIPSegConfig(
            text_config=_CLIP_TEXT, vision_config=_VISION, projection_dim=16, extract_layers=[0, 1], reduce_dim=8
        )
    ),
    "blip": lambda: BlipForImageTextRetrieval(
        BlipConfig(text_config=_BERT, vision_config=_VISION, image_text_hidden_size=16)
    ),
    "align": lambda: AlignModel(
        AlignConfig(text_config=_BERT, vision_config={"width_coefficient": 0.1}, projection_dim=16)
    ),
    "siglip": lambda: SiglipModel(SiglipConfig(text_config=_SIGLIP_TEXT, vision_config=_VISION)),
    "siglip_text": lambda: SiglipTextModel(SiglipTextConfig(**_SIGLIP_TEXT)),
    "siglip2": lambda: Siglip2Model(
        Siglip2Config(text_config=_SIGLIP_TEXT, vision_config=_SHAPE | {"num_patches": 4, "patch_size": 8})
    ),
    "siglip2_fixed": lambda: SiglipModel(SiglipConfig(text_config=_SIGLIP_TEXT, vision_config=_VISION)),
    "siglip2_text": lambda: Siglip2TextModel(Siglip2TextConfig(**_SIGLIP_TEXT)),
    "metaclip2": lambda: MetaClip2Model(MetaClip2Config(text_config=_XLM, vision_config=_VISION, projection_dim=16)),
    "metaclip2_text": lambda: MetaClip2TextModelWithProjection(MetaClip2TextConfig(**_XLM, projection_dim=16)),
    "dinov2": lambda: Dinov2Model(Dinov2Config(hidden_size=24, num_hidden_layers=1, num_attention_heads=3)),
    "vit": lambda: ViTModel(ViTConfig(**_VISION)),
}
TEXT_MODELS = [name for name in _MODELS if name not in ("dinov2", "vit")]


@dataclass(frozen=True)
class Saved:
    """A model of transformers, and the folder that holds it and its tokenizer."""

    name: str
    model: Any
    folder: Path

    def reference(self, texts: list[str]) -> NDArray[np.float32]:
        """Return the unit vectors that transformers' own model and tokenizer make of texts, one at a time."""
        tokens_of = reference_tokenizer(self.folder, self.name)
        return np.concatenate([self._vector(tokens_of, text) for text in texts])

    def vectors(self, tokens: Mapping[str, Tensor]) -> Tensor:
        """Return what transformers' own model makes of tokens, `(n, d)`, not normalized."""
        model = getattr(self.model, "clip", self.model)
        with torch.inference_mode():
            if self.name in ("clip_text", "metaclip2_text"):
                vectors: Tensor = self.model(**tokens).text_embeds
            elif self.name == "chinese_clip":  # whose get_text_features fails in version 4
                tokens_out = self.model.text_model(**tokens).last_hidden_state
                vectors = self.model.text_projection(tokens_out[:, 0])
            elif self.name == "blip":
                given = {name: tensor for name, tensor in tokens.items() if name != "token_type_ids"}
                vectors = model.text_proj(model.text_encoder(**given).last_hidden_state[:, 0])
            elif hasattr(model, "get_text_features"):
                features = model.get_text_features(**tokens)
                vectors = getattr(features, "pooler_output", features)  # version 5 has it in an output of several
            else:
                vectors = self.model(**tokens).pooler_output
        return vectors

    def _vector(self, tokens_of: Any, text: str) -> NDArray[np.float32]:
        padding = "max_length" if self.name.startswith("siglip") else False
        tokens = tokens_of(text, padding=padding, truncation=True, max_length=LENGTH, return_tensors="pt")
        unit: NDArray[np.float32] = torch.nn.functional.normalize(self.vectors(tokens)).numpy()
        return unit


def reference_tokenizer(folder: Path, name: str) -> Any:
    """Return transformers' own tokenizer of a folder with the files of a model of this name."""
    load: Callable[..., Any] = AutoTokenizer.from_pretrained
    tokenizer = load(folder)
    if name.startswith("siglip2") and type(tokenizer).__name__ != "Siglip2Tokenizer":
        # What transformers 5 does for NaFlex alone, and transformers 4 for no SigLIP 2.
        inner = tokenizer.backend_tokenizer
        inner.normalizer = normalizers.Sequence([normalizers.Lowercase(), inner.normalizer])
    return tokenizer


@pytest.fixture(scope="session")
def save(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Saved]:
    """Saves a random model of a kind, with a tokenizer, to a folder of its own."""

    def save_model(name: str, **options: Any) -> Saved:
        folder = tmp_path_factory.mktemp(name)
        model = _MODELS[name]().eval()
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter_name, parameter in model.named_parameters():
                noise = torch.randn(parameter.shape, generator=generator) * 0.5
                # Norms behind each layer, as BERT has them, would leave little of a text in the first token.
                parameter.copy_(noise + 1 if parameter_name.endswith(("LayerNorm.weight", "LN.weight")) else noise)
        model.save_pretrained(folder, **options)
        writers = WRITERS | RELATIVES
        if name in writers:
            writers[name](folder)
        return Saved(name=name, model=model, folder=folder)

    return save_model


@pytest.fixture(scope="session", params=TEXT_MODELS)
def each(request: pytest.FixtureRequest, save: Callable[..., Saved]) -> Saved:
    """Each model with a text tower in turn; the folder is not to be changed."""
    return save(request.param)


@pytest.fixture(scope="session")
def clip(save: Callable[..., Saved]) -> Saved:
    """A whole CLIP, both towers; the folder is not to be changed."""
    return save("clip")


@pytest.fixture(scope="session")
def encoder(clip: Saved) -> TextEncoder:
    """The text tower of that CLIP."""
    return TextEncoder(clip.folder, device="cpu")
