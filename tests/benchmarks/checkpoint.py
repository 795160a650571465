"""What is measured on: CLIPs with seeded random weights, and drawn pictures where there are no photos."""

from __future__ import annotations

import gzip
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
)

import clip_image_encoder
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes

__all__ = [
    "BUNDLED",
    "VIT_B_32",
    "VIT_L_14",
    "Geometry",
    "draw_pictures",
    "jpegs",
    "save_checkpoint",
    "save_for_fastembed",
    "save_texts_for_fastembed",
    "save_tokenizer",
]

BUNDLED = Path(clip_image_encoder.__file__).parent / "tiny_shapes" / "checkpoint"


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The shape of a vision tower at 224 pixels.

    Attributes:
        name: of the model that has it.
        dimension: length of a vector.
        vision: what differs from transformers' defaults, which are ViT-B/32's.
        gflop: multiplications and additions of its matrix products, for one picture.
    """

    name: str
    dimension: int
    vision: Mapping[str, int]
    gflop: float


VIT_B_32 = Geometry(name="ViT-B/32", dimension=512, vision={}, gflop=8.7)
VIT_L_14 = Geometry(
    name="ViT-L/14",
    dimension=768,
    vision={
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "patch_size": 14,
    },
    gflop=162,
)


def save_checkpoint(folder: Path, geometry: Geometry = VIT_B_32) -> None:
    """Write a whole CLIP of seeded random weights, with the bundled checkpoint's tokenizer, and a processor at 224."""
    torch.manual_seed(0)
    vision = {**geometry.vision, "projection_dim": geometry.dimension}
    model = CLIPModel(CLIPConfig(projection_dim=geometry.dimension, vision_config=vision))
    model.save_pretrained(folder)
    for file in BUNDLED.glob("*"):
        if file.name not in ("config.json", "model.safetensors", "README.md"):
            shutil.copy(file, folder)
    config = (BUNDLED / "preprocessor_config.json").read_text("utf-8")
    (folder / "preprocessor_config.json").write_text(config.replace("64", "224"), "utf-8")


def save_tokenizer(folder: Path) -> None:
    """Write CLIP's own tokenizer of 49,408 tokens into a checkpoint, from the list of merges in open_clip's wheel."""
    package = find_spec("open_clip")
    assert package is not None
    assert package.origin is not None
    with gzip.open(Path(package.origin).with_name("bpe_simple_vocab_16e6.txt.gz"), "rt", encoding="utf-8") as file:
        merges = file.read().split("\n")[1 : 49152 - 256 - 2 + 1]
    visible = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    letters = [*map(chr, visible), *(chr(256 + number) for number in range(256 - len(visible)))]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *(merge.replace(" ", "") for merge in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    pairs: Any = [tuple(merge.split()) for merge in merges]  # not strings, as transformers says
    for name in ("vocab.json", "merges.txt"):
        (folder / name).unlink(missing_ok=True)
    CLIPTokenizer(vocab=vocabulary, merges=pairs, model_max_length=77).save_pretrained(folder)


def draw_pictures(folder: Path, count: int = 64) -> None:
    """Draw JPEGs of one to two megapixels, as noisy as photos."""
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number, scene in enumerate(random_scenes(count, seed=1)):
        width, height = (int(side) for side in generator.integers(1000, 1500, 2))
        image = np.asarray(draw(scene).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
        grain = generator.normal(0, 12, (height, width, 1)).astype(np.float32)
        noisy = Image.fromarray(np.clip(image + grain, 0, 255).astype(np.uint8))
        noisy.save(folder / f"{number:03d}.jpg", quality=88)


def jpegs(folder: Path, count: int) -> list[Path]:
    """Return so many JPEG files of a folder, each as often as needed."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in {".jpg", ".jpeg"})
    return [files[number % len(files)] for number in range(count)]


def save_for_fastembed(checkpoint: Path, folder: Path, *, side: int = 224) -> None:
    """Export the vision tower as fastembed's own model files are: normalised float32 pixels in, vectors out."""
    model = CLIPVisionModelWithProjection.from_pretrained(checkpoint, attn_implementation="eager").eval()
    dynamic = {"pixel_values": {0: torch.export.Dim("n")}}
    _save_graph(_ImageEmbeds(model), {"pixel_values": torch.zeros(2, 3, side, side)}, dynamic, "image_embeds", folder)
    shutil.copy(checkpoint / "preprocessor_config.json", folder)


def save_texts_for_fastembed(checkpoint: Path, folder: Path) -> None:
    """Export the text tower likewise: token ids and their mask in, vectors out."""
    model = CLIPTextModelWithProjection.from_pretrained(checkpoint, attn_implementation="eager").eval()
    inputs = {name: torch.ones(2, 30, dtype=torch.long) for name in ("input_ids", "attention_mask")}
    dynamic = {name: {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC} for name in inputs}
    _save_graph(_TextEmbeds(model), inputs, dynamic, "text_embeds", folder)
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint / name, folder)


def _save_graph(
    module: torch.nn.Module,
    inputs: Mapping[str, torch.Tensor],
    dynamic: Mapping[str, object],
    output: str,
    folder: Path,
) -> None:
    folder.mkdir(parents=True)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = torch.onnx.export(
        module.eval(),
        tuple(inputs.values()),
        dynamo=True,
        input_names=list(inputs),
        output_names=[output],
        dynamic_shapes=tuple(dynamic.values()),
        verbose=False,
    )
    assert program is not None
    program.save(folder / "model.onnx")


class _ImageEmbeds(torch.nn.Module):
    def __init__(self, model: CLIPVisionModelWithProjection) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        embeds: torch.Tensor = self.model(pixel_values=pixel_values).image_embeds
        return embeds


class _TextEmbeds(torch.nn.Module):
    def __init__(self, model: CLIPTextModelWithProjection) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        embeds: torch.Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).text_embeds
        return embeds
