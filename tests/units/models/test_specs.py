"""The sizes that a vision tower takes; neither this nor reading a config imports torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clip_image_encoder import ConfigurationError
from clip_image_encoder.models import VisionSpec, Weights

from .references import TEXT, VISION


def never(weights: Weights) -> Any:
    raise AssertionError("the weights were asked for")


def spec(image_size: tuple[int, int], patch_size: int = 14, *, any_size: bool = False) -> VisionSpec:
    return VisionSpec(image_size=image_size, patch_size=patch_size, any_size=any_size, prefix_tokens=1, load=never)


@pytest.mark.parametrize("any_size", [False, True])
@pytest.mark.parametrize("size", [(224, 224), (224, 336), (384, 384)])  # 384 is 27 times 14, and 6
def test_a_tower_takes_the_size_that_it_was_trained_at(size: tuple[int, int], any_size: bool) -> None:
    spec(size, any_size=any_size).check_size(size, name="name")


@pytest.mark.parametrize("size", [(14, 14), (14, 280), (518, 224)])
def test_a_tower_for_any_size_takes_multiples_of_its_patches(size: tuple[int, int]) -> None:
    spec((224, 224), any_size=True).check_size(size, name="name")


@pytest.mark.parametrize("size", [(225, 224), (224, 225), (7, 7), (384, 384)])
def test_a_tower_for_any_size_refuses_what_patches_do_not_fill(size: tuple[int, int]) -> None:
    with pytest.raises(ConfigurationError, match=r"^name takes pixels of size multiples of 14, .* makes \("):
        spec((224, 224), any_size=True).check_size(size, name="name")


@pytest.mark.parametrize("size", [(448, 448), (224, 448), (336, 224), (224, 223)])
def test_a_tower_for_one_size_refuses_every_other(size: tuple[int, int]) -> None:
    with pytest.raises(
        ConfigurationError, match=rf"^name .* \(224, 336\), the preprocess makes \({size[0]}, {size[1]}\)"
    ):
        spec((224, 336)).check_size(size, name="name")


@pytest.mark.parametrize(
    ("image_size", "patch_size", "patches"),
    [
        ((224, 224), 32, 49),
        ((224, 224), 14, 256),
        ((14, 14), 14, 1),
        ((28, 56), 14, 8),
        ((56, 28), 14, 8),
        ((384, 384), 14, 729),  # what is beyond the last whole patch does not count
        ((27, 384), 14, 27),
    ],
)
def test_whole_patches_are_counted(image_size: tuple[int, int], patch_size: int, patches: int) -> None:
    assert spec((224, 224), patch_size).patches(image_size) == patches


def test_no_family_needs_torch_or_transformers_to_read_a_config(tmp_path: Path) -> None:
    for model_type in {**VISION, **TEXT}:
        (tmp_path / model_type).mkdir()
        (tmp_path / model_type / "config.json").write_text(json.dumps({"model_type": model_type}))
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from clip_image_encoder.checkpoint import open_checkpoint\n"
        f"for name in {[*VISION]!r}:\n"
        f"    vision = open_checkpoint(Path({str(tmp_path)!r}) / name).vision\n"
        "    vision.check_size(vision.image_size, name=name)\n"
        f"for name in {[*TEXT]!r}:\n"
        f"    open_checkpoint(Path({str(tmp_path)!r}) / name).text\n"
        "print(*{'torch', 'transformers'} & sys.modules.keys())\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
