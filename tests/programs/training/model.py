"""The architecture of the checkpoint, how it starts, and what it is told while it learns."""

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional
from transformers import CLIPConfig, CLIPModel

from .lessons import Lesson
from .pictures import SIZE
from .tokenizer import LENGTH

PATCH, WIDTH = 8, 128
_CELL = 2
_NEVER = -1e4
"""A logit that wins against no other."""


def configuration(vocabulary: int) -> CLIPConfig:
    """The architecture: four layers see, two layers read."""
    start, end = vocabulary - 2, vocabulary - 1
    text = {
        "vocab_size": vocabulary,
        "max_position_embeddings": LENGTH,
        "hidden_size": 96,
        "intermediate_size": 256,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
        "projection_dim": 64,
        "bos_token_id": start,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    vision = {
        "image_size": SIZE,
        "patch_size": PATCH,
        "hidden_size": WIDTH,
        "intermediate_size": 448,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "hidden_act": "gelu",
        "projection_dim": 64,
    }
    return CLIPConfig(projection_dim=64, text_config=text, vision_config=vision)


def fresh(vocabulary: int) -> CLIPModel:
    """A model with first weights: random, but for the patches' positions, which start as waves of four lengths.

    Random positions are much weaker than the patches' colors, and what is next to what is learnt late.
    """
    model = CLIPModel(configuration(vocabulary))
    # In bfloat16 on a processor, torch's fused attention takes half of a training step, and this a tenth.
    model.set_attn_implementation("eager")
    positions = model.vision_model.embeddings.position_embedding.weight
    side = SIZE // PATCH
    frequencies = torch.pi * 2.0 ** torch.linspace(-1, 2, WIDTH // 4)
    angles = (torch.arange(side) + 0.5)[:, None] / side * frequencies
    waves = torch.cat([angles.sin(), angles.cos()], dim=1)
    rows, columns = waves[:, None].expand(-1, side, -1), waves[None].expand(side, -1, -1)
    with torch.no_grad():
        positions[1:] = 0.3 * torch.cat([rows, columns], dim=2).reshape(side * side, WIDTH)
    return model


class Figure(nn.Module):
    """Finds the shape's silhouette in the patch tokens of the second layer; only training needs it.

    A name for the whole image says little about where the shape ends and the background begins. Told that as well,
    the model learns the shapes from far fewer images.
    """

    def __init__(self) -> None:
        """Start with random weights."""
        super().__init__()
        self.cells = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, (PATCH // _CELL) ** 2))

    def forward(self, tokens: torch.Tensor, silhouettes: torch.Tensor) -> torch.Tensor:
        """Compare what the tokens tell with the truth.

        Args:
            tokens: (n, 1 + patches, width), the class token first.
            silhouettes: (n, 1, height, width) in 0..1.

        Returns:
            The mean cross entropy, a scalar.
        """
        truth = functional.avg_pool2d(silhouettes, _CELL)
        truth = functional.unfold(truth, PATCH // _CELL, stride=PATCH // _CELL).transpose(1, 2)
        return functional.binary_cross_entropy_with_logits(self.cells(tokens[:, 1:]), truth)


def contrast(model: CLIPModel, seen: torch.Tensor, lessons: Sequence[Lesson], tokenizer: Tokenizer) -> torch.Tensor:
    """Contrast images with captions, both ways; captions compete only with those that name the same things.

    Args:
        model: Reads the captions.
        seen: (n, dimension), what the model saw in the images, before the unit norm.
        lessons: The captions, and of which images they are true.
        tokenizer: Pads.

    Returns:
        The weighted sum of the lessons' losses, a scalar.
    """
    seen = functional.normalize(seen, dim=-1)
    encoded = tokenizer.encode_batch([text for each in lessons for text in each.texts])
    ids = torch.tensor([one.ids for one in encoded])
    mask = torch.tensor([one.attention_mask for one in encoded])
    read = model.text_projection(model.text_model(input_ids=ids, attention_mask=mask).pooler_output)
    read = torch.split(functional.normalize(read, dim=-1), [len(each.texts) for each in lessons])
    scale = model.logit_scale.exp()
    losses = []
    for each, texts in zip(lessons, read, strict=True):
        truth = torch.from_numpy(each.truth)
        logits = (scale * seen @ texts.T).masked_fill(~torch.from_numpy(each.asked), _NEVER)
        losses.append(each.weight * (_soft(logits, truth) + _soft(logits.T, truth.T)) / 2)
    return torch.stack(losses).sum()


def _soft(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Cross entropy against all the true answers alike, over the rows that have one."""
    rows = truth.any(dim=1)
    logits, shares = logits[rows], truth[rows].float()
    return -(shares / shares.sum(dim=1, keepdim=True) * logits.log_softmax(dim=1)).sum(dim=1).mean()
