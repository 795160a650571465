"""What is measured on: CLIPs with seeded random weights, and drawn pictures where there are no photos."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from transformers import CLIPConfig, CLIPModel, CLIPVisionModelWithProjection

import clip_image_encoder
from clip_image_encoder.tiny_shapes.draw import draw, random_scenes

__all__ = ["BUNDLED", "VIT_B_32", "VIT_L_14", "Geometry", "draw_pictures", "save_checkpoint", "save_for_fastembed"]

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
    folder.mkdir()
    model = CLIPVisionModelWithProjection.from_pretrained(checkpoint, attn_implementation="eager").eval()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = torch.onnx.export(
        _Embeds(model).eval(),
        (torch.zeros(2, 3, side, side),),
        dynamo=True,
        input_names=["pixel_values"],
        output_names=["image_embeds"],
        dynamic_shapes=({0: torch.export.Dim("n")},),
        verbose=False,
    )
    assert program is not None
    program.save(folder / "model.onnx")
    shutil.copy(checkpoint / "preprocessor_config.json", folder)


class _Embeds(torch.nn.Module):
    def __init__(self, model: CLIPVisionModelWithProjection) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        embeds: torch.Tensor = self.model(pixel_values=pixel_values).image_embeds
        return embeds
