"""Folders as sentence-transformers lays them out, of small models that transformers saves."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from transformers import AutoTokenizer, DistilBertConfig, DistilBertModel

__all__ = [
    "DIMENSION",
    "DistilBert",
    "fill",
    "modules_json",
    "write_dense",
    "write_json",
    "write_pooling",
    "write_tokenizer",
]

DIMENSION = 16
"""Of the joint space, as the small CLIPs of these tests have it."""

_WORDS = ["a", "red", "blue", "circle", "star", "on", "the"]
_OTHERS = "漢字仮名한국ภาษาΕλλάδαßéñ½①😀👩!?.,'-#1250"


def vocabulary() -> list[str]:
    """Return a multilingual BERT's kind of tokens, with capital letters; WordPiece needs each letter twice."""
    letters = [*string.ascii_letters, *_OTHERS, "\u0301", "\u200d"]
    pieces = [start + letter for start in ("", "##") for letter in letters]
    return list(dict.fromkeys(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *_WORDS, "Red", "##ed", *pieces]))


def fill(module: nn.Module, seed: int = 0) -> None:
    """Give a module random weights that depend on a seed."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator) * 0.5
            parameter.copy_(noise + 1 if "norm.weight" in name.lower() else noise)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file, and the folder that it lies in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), "utf-8")


def modules_json(folder: Path, *modules: tuple[str, str]) -> None:
    """Write the list of modules, each of a class and a folder, as versions before 5 named the classes."""
    listed = [
        {"idx": place, "name": str(place), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for place, (kind, path) in enumerate(modules)
    ]
    write_json(folder / "modules.json", listed)


def write_pooling(folder: Path, width: int, **config: Any) -> None:
    """Write a mean pooling as versions before 5.4 do, or one of another config."""
    old = {"word_embedding_dimension": width, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True}
    write_json(folder / "config.json", config or old)


def write_dense(folder: Path, layer: nn.Linear, activation: str = "torch.nn.modules.linear.Identity") -> None:
    """Write a dense layer."""
    bias = layer.bias is not None
    config = {"in_features": layer.in_features, "out_features": layer.out_features, "bias": bias}
    write_json(folder / "config.json", config | {"activation_function": activation})
    tensors = {f"linear.{name}": tensor for name, tensor in layer.state_dict().items()}
    save_file(tensors, folder / "model.safetensors")


class DistilBert:
    """A text tower laid out as clip-ViT-B-32-multilingual-v1: a DistilBERT, its mean, a dense layer without bias.

    Args:
        folder: Where it is saved.
        first: Name of the encoder's folder; "" for the same.
        length: Number of tokens at which texts are cut.
    """

    WIDTH = 24

    def __init__(self, folder: Path, *, first: str = "", length: int = 12) -> None:
        self.folder, self.length = folder, length
        shape: dict[str, Any] = {"dim": self.WIDTH, "hidden_dim": 40, "n_heads": 3, "n_layers": 2}
        config = DistilBertConfig(vocab_size=len(vocabulary()), max_position_embeddings=20, **shape)
        self.encoder = DistilBertModel(config).eval()
        self.dense = nn.Linear(self.WIDTH, DIMENSION, bias=False)
        fill(self.encoder)
        fill(self.dense, 1)
        inside = folder / first
        self.encoder.save_pretrained(inside)
        self.tokenizer = write_tokenizer(inside)
        write_json(inside / "sentence_bert_config.json", {"max_seq_length": length, "do_lower_case": False})
        write_pooling(folder / "1_Pooling", self.WIDTH)
        write_dense(folder / "2_Dense", self.dense)
        modules_json(folder, ("Transformer", first), ("Pooling", "1_Pooling"), ("Dense", "2_Dense"))

    def tokens(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return the encoder's tokens `(n, length, width)` of texts, and their mask `(n, length)`."""
        given = self.tokenizer(list(texts), padding=True, truncation=True, max_length=self.length, return_tensors="pt")
        with torch.inference_mode():
            return self.encoder(**given).last_hidden_state, given["attention_mask"]

    def vectors(self, texts: Sequence[str]) -> Tensor:
        """Return what the modules make of texts, `(n, d)`, not normalized."""
        tokens, mask = self.tokens(texts)
        means = [row[seen.bool()].mean(dim=0) for row, seen in zip(tokens, mask, strict=True)]
        with torch.inference_mode():
            vectors: Tensor = self.dense(torch.stack(means))
        return vectors


def write_tokenizer(folder: Path) -> Any:
    """Write what transformers saves of a multilingual DistilBERT's tokenizer, and return it."""
    (folder / "vocab.txt").write_text("\n".join(vocabulary()), "utf-8")
    settings = {"tokenizer_class": "DistilBertTokenizer", "do_lower_case": False, "model_max_length": 512}
    write_json(folder / "tokenizer_config.json", settings)
    load: Callable[..., Any] = AutoTokenizer.from_pretrained
    tokenizer = load(folder)
    tokenizer.save_pretrained(folder)
    return tokenizer
