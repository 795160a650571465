"""The bundled files: small, complete, loadable by plain transformers, and right."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoTokenizer, CLIPImageProcessor, CLIPModel, CLIPTokenizer

from clip_image_encoder.tiny_shapes.draw import HELD_OUT, draw, random_scenes
from tests.programs.training.captions import all_captions

from .elsewhere import sample

Namer = Callable[[list[Image.Image]], list[tuple[str, str]]]


@torch.inference_mode()
def _named(
    model: CLIPModel, tokenizer: CLIPTokenizer, processor: CLIPImageProcessor, images: list[Image.Image]
) -> list[tuple[str, str]]:
    captions = all_captions()
    inputs = tokenizer(list(captions.values()), padding=True, return_tensors="pt")
    inputs |= processor(images, return_tensors="pt")
    best = model(**inputs).logits_per_image.argmax(dim=1)
    return [list(captions)[index] for index in best.tolist()]


@pytest.fixture(name="named", scope="module")
def _namer(checkpoint: Path) -> Namer:
    """What the checkpoint sees in images, by transformers alone: one of the 88 pairs for each."""
    return partial(
        _named,
        CLIPModel.from_pretrained(checkpoint),
        CLIPTokenizer.from_pretrained(checkpoint),
        CLIPImageProcessor.from_pretrained(checkpoint),
    )


def test_the_files_are_small(checkpoint: Path) -> None:
    """2.5 MB at most in all."""
    assert sum(file.stat().st_size for file in checkpoint.iterdir()) <= 2_500_000


def test_the_folder_is_complete(checkpoint: Path) -> None:
    """Model, processor, tokenizer in the old files and in the new one, and the card."""
    model = {"config.json", "model.safetensors", "preprocessor_config.json", "README.md"}
    tokenizer = {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}
    assert {file.name for file in checkpoint.iterdir()} == model | tokenizer


def test_500_fresh_images_of_held_out_pairs_are_named_right(named: Namer) -> None:
    """At least 98 % find their caption among all 88."""
    scenes = list(random_scenes(500, seed=20_261_124, pairs=HELD_OUT))
    found = named([draw(scene) for scene in scenes])
    right = [(scene.color, scene.shape) == pair for scene, pair in zip(scenes, found, strict=True)]
    assert sum(right) >= 0.98 * len(right)


def test_images_drawn_by_somebody_else_are_named_right(named: Namer) -> None:
    """At least 97 % of all pairs in thirteen styles that training never saw."""
    drawn = list(sample(1144, seed=1))
    found = named([image for image, *_ in drawn])
    right = [(color, shape) == pair for (_, color, shape, _), pair in zip(drawn, found, strict=True)]
    assert sum(right) >= 0.97 * len(right)


def test_the_text_tower_reads_to_the_end_token(checkpoint: Path) -> None:
    """Padding after it changes nothing, which a wrong end-of-text id would."""
    model, tokenizer = CLIPModel.from_pretrained(checkpoint), CLIPTokenizer.from_pretrained(checkpoint)
    config: Any = model.config.text_config
    assert config.eos_token_id == tokenizer.eos_token_id
    alone = model.text_model(**tokenizer(["a red star"], return_tensors="pt")).pooler_output
    texts = ["a red star", "a photo of a red star on a blue background"]
    padded = model.text_model(**tokenizer(texts, padding=True, return_tensors="pt")).pooler_output
    torch.testing.assert_close(alone[0], padded[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", [CLIPTokenizer, AutoTokenizer])
class TestTokenizer:
    """Both ways to load it."""

    def test_case_does_not_matter(self, checkpoint: Path, kind: type[CLIPTokenizer]) -> None:
        """As in every CLIP."""
        tokenizer = kind.from_pretrained(checkpoint)
        assert tokenizer("A Red CIRCLE").input_ids == tokenizer("a red circle").input_ids

    def test_a_known_word_is_one_token(self, checkpoint: Path, kind: type[CLIPTokenizer]) -> None:
        """Three words between the start and the end."""
        ids = kind.from_pretrained(checkpoint)("a purple heart").input_ids
        assert len(ids) == 5

    @pytest.mark.parametrize("text", ["", "   ", "Zürich, 猫 🙂!", "naïve_café-42"])
    def test_any_text_has_tokens(self, checkpoint: Path, kind: type[CLIPTokenizer], text: str) -> None:
        """Unknown words fall apart into bytes; nothing is beyond the vocabulary."""
        tokenizer = kind.from_pretrained(checkpoint)
        start, *pieces, end = tokenizer(text).input_ids
        assert (start, end) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
        assert end not in pieces

    def test_long_texts_are_cut_to_what_the_model_reads(self, checkpoint: Path, kind: type[CLIPTokenizer]) -> None:
        """The end token stays."""
        tokenizer = kind.from_pretrained(checkpoint)
        ids = tokenizer("a red circle " * 50, truncation=True).input_ids
        assert len(ids) == 32
        assert ids[-1] == tokenizer.eos_token_id
