"""Train the checkpoint `tiny-shapes`: `python -m tests.programs.training.train`.

Draws its images, trains a small CLIP on them, and writes all the files of the checkpoint. The same seed on the same
machine gives the same files. Computes in bfloat16: on a processor without instructions for it, it takes hours.
"""

import argparse
import json
import math
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPModel

from clip_image_encoder import tiny_shapes
from clip_image_encoder.tiny_shapes.draw import Scene

from . import tokenizer as tokenizers
from .captions import words
from .evaluate import accuracy, normalized
from .lessons import lesson
from .model import Figure, contrast, fresh
from .pictures import MEAN, SIZE, STD, pool

CHECKPOINT = Path(tiny_shapes.__file__).parent / "checkpoint"
"""Where the bundled files lie."""

STEPS, BATCH, PICTURES = 9500, 96, 80_000
EASY = 0.05
"""The share of the steps that see only big shapes on plain backgrounds: what a shape is, is learnt first."""

MUON_RATE, ADAM_RATE, WARM_UP = 0.02, 1.5e-3, 100


def train(output: Path, *, steps: int = STEPS, seed: int = 0, judged: int = 500) -> None:
    """Train from scratch and write the checkpoint.

    Args:
        output: The folder to write to; made where it is missing.
        steps: How many batches to learn from.
        seed: Decides the images, the captions, the first weights and their order.
        judged: How many fresh images the result is judged by.
    """
    started = time.monotonic()
    torch.manual_seed(seed)
    tokenizer = tokenizers.build(words())
    model, figure = fresh(tokenizer.get_vocab_size()), Figure()
    print(f"{sum(weights.numel() for weights in model.parameters()):,} parameters; drawing pictures ...", flush=True)
    scenes, pictures = pool(min(PICTURES, steps * BATCH), seed)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.995))
    optimisers = _optimisers(model, figure)
    schedules = [torch.optim.lr_scheduler.LambdaLR(each, lambda step: _rate(step, steps)) for each in optimisers]
    generator = np.random.default_rng(seed)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(tokenizers.END), pad_token=tokenizers.END)
    for step, chosen in enumerate(_batches(scenes, steps, generator)):
        loss = _loss(model, figure, pictures[chosen], [scenes[index] for index in chosen], tokenizer, generator)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*model.parameters(), *figure.parameters()], 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
        with torch.no_grad():
            model.logit_scale.clamp_(max=math.log(100))
        average.update_parameters(model)
        if step % 50 == 0 or step == steps - 1:
            print(f"step {step:5d}  loss {loss.item():.4f}  {time.monotonic() - started:5.0f} s", flush=True)
    tokenizer.no_padding()
    averaged = average.module
    assert isinstance(averaged, CLIPModel)
    save(averaged, tokenizer, output)
    print(f"held-out accuracy {accuracy(output, count=judged):.2%} after {time.monotonic() - started:.0f} s")


def save(model: CLIPModel, tokenizer: Tokenizer, folder: Path) -> None:
    """Write weights in float16, configuration, tokenizer and processor files; the card stays."""
    folder.mkdir(parents=True, exist_ok=True)
    model.half().save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    # The files are halves to be small; whoever loads them computes in single precision unless told otherwise.
    config["dtype"] = "float32"
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": SIZE},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": SIZE, "width": SIZE},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": MEAN,
        "image_std": STD,
    }
    for name, content in (("config.json", config), ("preprocessor_config.json", processor)):
        (folder / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    tokenizers.save(tokenizer, folder)


def _optimisers(model: CLIPModel, figure: Figure) -> tuple[torch.optim.Optimizer, torch.optim.Optimizer]:
    """Muon for the matrices within the layers, AdamW for everything else.

    Muon learns the shapes in half as many steps as AdamW alone. From "Muon: An optimizer for hidden layers in neural
    networks" (Jordan et al., 2024).
    """
    named = list(model.named_parameters())
    matrices = [weights for name, weights in named if ".layers." in name and weights.ndim == 2]
    others = [weights for name, weights in named if ".layers." not in name or weights.ndim != 2]
    adam = torch.optim.AdamW([*others, *figure.parameters()], lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.01)
    return torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.01), adam


def _rate(step: int, steps: int) -> float:
    """A share of the full rate: a warm-up, and a straight way down."""
    return min(1.0, (step + 1) / WARM_UP) * (1 - step / steps)


def _batches(scenes: Sequence[Scene], steps: int, generator: np.random.Generator) -> Iterator[np.ndarray]:
    """Indices of the images of each batch, first easy ones, then any: all once in random order, and again."""
    easy = np.array([index for index, scene in enumerate(scenes) if scene.background and scene.size > 0.4])
    first = round(steps * EASY)
    for indices, count in ((easy, first), (np.arange(len(scenes)), steps - first)):
        rounds = [generator.permutation(indices) for _ in range(-(-count * BATCH // len(indices)))]
        yield from np.concatenate(rounds or [indices])[: count * BATCH].reshape(count, BATCH)


def _loss(
    model: CLIPModel,
    figure: Figure,
    pictures: np.ndarray,
    scenes: Sequence[Scene],
    tokenizer: Tokenizer,
    generator: np.random.Generator,
) -> torch.Tensor:
    """How wrong the model is about a batch: what its captions are, and where its shapes are."""
    silhouettes = torch.from_numpy(pictures[..., 3]).float()[:, None] / 255
    images = _turned(torch.cat([normalized(pictures[..., :3]), silhouettes], dim=1), generator)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model.vision_model(pixel_values=images[:, :3], output_hidden_states=True)
        seen = model.visual_projection(output.pooler_output)
        where = figure(output.hidden_states[2], images[:, 3:])
        loss: torch.Tensor = contrast(model, seen, lesson(scenes, generator), tokenizer) + 3 * where
    return loss


def _turned(images: torch.Tensor, generator: np.random.Generator) -> torch.Tensor:
    """Mirror and transpose half of the (n, c, H, W) images each: every caption stays true."""
    for axis in (2, 3):
        chosen = torch.from_numpy(generator.random(len(images)) < 0.5)
        images[chosen] = images[chosen].flip(axis)
    chosen = torch.from_numpy(generator.random(len(images)) < 0.5)
    images[chosen] = images[chosen].transpose(2, 3)
    return images


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="Train the checkpoint tiny-shapes.")
    parser.add_argument("--output", type=Path, default=CHECKPOINT, help="folder to write (default: the bundled one)")
    parser.add_argument("--steps", type=int, default=STEPS, help="batches to learn from (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="decides everything that is left to chance")
    options = parser.parse_args()
    train(options.output, steps=options.steps, seed=options.seed)


if __name__ == "__main__":
    main()
