"""What is measured on: models with seeded random weights, captions, and drawn images where there are no photos."""

from __future__ import annotations

import gzip
import json
import logging
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import (
    CLIPConfig,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    CLIPVisionModelWithProjection,
    SiglipConfig,
)

import clip_image_encoder
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes

__all__ = [
    "BUNDLED",
    "SO400M",
    "VIT_B_16",
    "VIT_B_32",
    "VIT_L_14",
    "Geometry",
    "captions",
    "draw_pictures",
    "jpegs",
    "save_checkpoint",
    "save_for_fastembed",
    "save_texts_for_fastembed",
    "save_tokenizer",
]

BUNDLED = Path(clip_image_encoder.__file__).parent / "tiny_shapes" / "checkpoint"

_WORDS = (
    "red",
    "old",
    "small",
    "wooden",
    "sunny",
    "quiet",
    "dog",
    "street",
    "market",
    "boat",
    "child",
    "window",
    "cat",
)


@dataclass(frozen=True, kw_only=True)
class Geometry:
    """The shape of a CLIP's or a SigLIP's vision tower.

    Attributes:
        name: of the model that has it.
        dimension: length of a vector.
        vision: what differs from transformers' defaults, which are ViT-B/32's and SigLIP B/16's.
        network: what the names of transformers' classes begin with.
    """

    name: str
    dimension: int
    vision: Mapping[str, int]
    network: str = "CLIP"

    @cached_property
    def config(self) -> Any:
        """The tower's config, as transformers has it."""
        return getattr(transformers, f"{self.network}VisionConfig")(**self.vision)

    @property
    def gflop(self) -> float:
        """Multiplications and additions of the whole tower's matrix products, for one image, in billions."""
        config = self.config
        patches, width = (config.image_size // config.patch_size) ** 2, config.hidden_size
        tokens = patches + (self.network == "CLIP")
        layer = 2 * tokens * (4 * width**2 + 2 * width * config.intermediate_size) + 4 * tokens**2 * width
        embedding = 2 * patches * width * 3 * config.patch_size**2
        return float(config.num_hidden_layers * layer + embedding) / 1e9


def _vit(patch: int, width: int = 768, layers: int = 12, heads: int = 12, mlp: int = 3072) -> dict[str, int]:
    sizes = {"hidden_size": width, "num_hidden_layers": layers, "num_attention_heads": heads}
    return {**sizes, "intermediate_size": mlp, "patch_size": patch}


VIT_B_32 = Geometry(name="ViT-B/32", dimension=512, vision=_vit(32))
VIT_B_16 = Geometry(name="ViT-B/16", dimension=512, vision=_vit(16))
VIT_L_14 = Geometry(name="ViT-L/14", dimension=768, vision=_vit(14, 1024, 24, 16, 4096))
SO400M = Geometry(
    name="SigLIP so400m at 384",
    dimension=1152,
    vision={**_vit(14, 1152, 27, 16, 4304), "image_size": 384},
    network="Siglip",
)


def save_checkpoint(folder: Path, geometry: Geometry = VIT_B_32) -> None:
    """Write a whole model of seeded random weights, with the bundled checkpoint's tokenizer, and its processor."""
    torch.manual_seed(0)
    is_clip = geometry.network == "CLIP"
    vision = dict(geometry.vision)
    if is_clip:
        vision["projection_dim"] = geometry.dimension
        config: Any = CLIPConfig(projection_dim=geometry.dimension, vision_config=vision)
    else:
        # SigLIP's text tower is not measured, and as small as can be.
        text = _vit(16, width=64, layers=1, heads=1, mlp=64) | {"projection_size": geometry.dimension}
        config = SiglipConfig(vision_config=vision, text_config=text)
    model = getattr(transformers, f"{geometry.network}Model")(config)
    with torch.no_grad():
        for name, values in model.named_parameters():
            if name.endswith("bias"):  # zeros otherwise, which exporters and runtimes leave out
                values.normal_(std=0.02)
    model.save_pretrained(folder)
    for file in BUNDLED.glob("*"):
        if file.name not in ("config.json", "model.safetensors", "README.md"):
            shutil.copy(file, folder)
    processor = json.loads((BUNDLED / "preprocessor_config.json").read_text("utf-8"))
    side = {"height": geometry.config.image_size, "width": geometry.config.image_size}
    if is_clip:
        processor |= {"size": {"shortest_edge": side["height"]}, "crop_size": side}
    else:
        half = [0.5, 0.5, 0.5]
        processor = {
            "image_processor_type": "SiglipImageProcessor",
            "size": side,
            "image_mean": half,
            "image_std": half,
        }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), "utf-8")


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


def captions(count: int) -> list[str]:
    """Return seeded captions of seven to eighteen words."""
    generator = random.Random(0)
    chosen = (" ".join(generator.choices(_WORDS, k=generator.randint(3, 14))) for _ in range(count))
    return [f"a photo of a {words}" for words in chosen]


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
    """Export the vision tower as fastembed's own model files are: normalized float32 pixels in, vectors out."""
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
