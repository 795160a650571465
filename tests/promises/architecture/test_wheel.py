"""The package's folder holds what its users import and what it reads; `nox -s build` compares the wheel with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import clip_image_encoder

PACKAGE = Path(clip_image_encoder.__file__).parent
BUNDLED = PACKAGE / "tiny_shapes"


def test_beside_the_bundled_checkpoint_is_only_what_draws_its_images() -> None:
    program = "import sys, clip_image_encoder.tiny_shapes.draw\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    drawing = {name for name in done.stdout.split() if name.startswith("clip_image_encoder.tiny_shapes.")}
    modules = {f"clip_image_encoder.tiny_shapes.{file.stem}" for file in BUNDLED.glob("*.py")}
    assert modules - {"clip_image_encoder.tiny_shapes.__init__"} == drawing


def test_all_other_files_are_python_but_the_checkpoint_and_the_mark_of_types() -> None:
    files = {file for file in PACKAGE.rglob("*") if file.is_file() and "__pycache__" not in file.parts}
    others = {file for file in files if file.suffix != ".py" and file.parent != BUNDLED / "checkpoint"}
    assert others == {PACKAGE / "py.typed"}
