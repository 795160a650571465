"""How well a checkpoint finds the caption of images, among the captions of all 88 pairs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from transformers import CLIPModel

from clip_image_encoder.tiny_shapes.draw import HELD_OUT, draw, random_scenes

from .captions import all_captions
from .pictures import MEAN, STD, pixels

Pair = tuple[str, str]


def normalized(seen: np.ndarray) -> torch.Tensor:
    """Bring (n, H, W, 3) uint8 pixels to the (n, 3, H, W) float32 that the model reads."""
    images = torch.from_numpy(seen).permute(0, 3, 1, 2).float() / 255
    return (images - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)


@torch.inference_mode()
def named(checkpoint: Path, images: Sequence[Image.Image]) -> list[Pair]:
    """Say which color and shape each image shows.

    Args:
        checkpoint: The folder of a trained checkpoint.
        images: Images of any size and mode.

    Returns:
        For each image the pair whose plain caption is nearest, among all 88.
    """
    model = CLIPModel.from_pretrained(checkpoint, dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(checkpoint / "tokenizer.json"))
    captions = all_captions()
    tokenizer.enable_padding(pad_id=model.config.text_config.pad_token_id)
    encoded = tokenizer.encode_batch(list(captions.values()))
    ids, mask = (torch.tensor([getattr(one, part) for one in encoded]) for part in ("ids", "attention_mask"))
    read = model.text_projection(model.text_model(input_ids=ids, attention_mask=mask).pooler_output)
    batch = normalized(np.stack([pixels(image) for image in images]))
    seen = model.visual_projection(model.vision_model(pixel_values=batch).pooler_output)
    best = (seen @ torch.nn.functional.normalize(read, dim=-1).T).argmax(dim=1)
    pairs = list(captions)
    return [pairs[index] for index in best.tolist()]


def accuracy(checkpoint: Path, *, count: int = 500, seed: int = 2**31) -> float:
    """The share of fresh images of held-out pairs whose caption a checkpoint finds, in 0..1.

    Args:
        checkpoint: The folder of a trained checkpoint.
        count: How many images to draw.
        seed: Decides the images; training draws from others.
    """
    scenes = list(random_scenes(count, seed=seed, pairs=HELD_OUT))
    found = named(checkpoint, [draw(scene) for scene in scenes])
    right = [(scene.color, scene.shape) == pair for scene, pair in zip(scenes, found, strict=True)]
    return sum(right) / len(right)
