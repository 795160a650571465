"""The quickstart as a user starts it, and the README's code as a user copies it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from clip_image_encoder.tiny_shapes.draw import Scene, draw

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "docs" / "quickstart.py"
README = Sybil(parsers=[PythonCodeBlockParser()]).parse(ROOT / "README.md")


def run(*arguments: object, folder: Path, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=check)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The folder in which the quickstart ran, and what it printed."""
    folder = tmp_path_factory.mktemp("quickstart")
    done = run(folder=folder)
    assert done.stderr == ""
    return folder, done.stdout


def test_three_queries_are_answered_with_the_right_images_first(finished: tuple[Path, str]) -> None:
    _, printed = finished
    answers = re.findall(r"^(a .*)\n  +\S+  \d+-(\w+-\w+)\.png$", printed, re.MULTILINE)
    assert answers == [
        ("a red circle", "red-circle"),
        ("a photo of a yellow star", "yellow-star"),
        ("a blue heart", "blue-heart"),
    ]


def test_a_unit_vector_for_each_image_is_saved(finished: tuple[Path, str]) -> None:
    folder, _ = finished
    vectors = np.load(folder / "quickstart" / "embeddings.npy")
    assert (vectors.dtype.name, len(vectors)) == ("float32", len(list((folder / "quickstart" / "gallery").iterdir())))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_the_contact_sheet_shows_the_best_images_beside_their_query(finished: tuple[Path, str]) -> None:
    folder, printed = finished
    best = re.findall(r"  (\d+-[\w-]+\.png)$", printed, re.MULTILINE)[0]
    with Image.open(folder / "quickstart" / "contact_sheet.png") as sheet:
        assert sheet.width > 5 * 160
        shown = np.asarray(sheet.convert("RGB"), dtype=int)[42 : 42 + 160, 12 : 12 + 160]
    with Image.open(folder / "quickstart" / "gallery" / best) as picture:
        picture.thumbnail((160, 160))
        left, top = (160 - picture.width) // 2, (160 - picture.height) // 2
        expected = np.asarray(picture, dtype=int)
    shown = shown[top : top + picture.height, left : left + picture.width]
    assert np.abs(shown - expected).mean() < 2


def test_a_folder_of_photos_and_queries_of_ones_own_are_taken_in_any_order(tmp_path: Path) -> None:
    photos = tmp_path / "photos" / "holiday"
    photos.mkdir(parents=True)
    for color, shape in [("red", "heart"), ("green", "square"), ("blue", "star")]:
        draw(Scene(color=color, shape=shape)).save(photos / f"{color}.JPG")
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (photos / "notes.txt").write_text("no photo")
    done = run("photos", "a blue star", "--output", "found", "--model", "tiny-shapes", "a red heart", folder=tmp_path)
    answers = re.findall(r"^(a .*)\n  +\S+  (.*)$", done.stdout, re.MULTILINE)
    assert answers == [("a blue star", "holiday/blue.JPG"), ("a red heart", "holiday/red.JPG")]
    assert "4 images" in done.stdout
    assert "broken.jpg" in done.stderr
    assert (tmp_path / "found" / "contact_sheet.png").is_file()


def test_a_folder_without_photos_is_said_to_be_empty(tmp_path: Path) -> None:
    done = run(".", folder=tmp_path, check=False)
    assert done.returncode == 2
    assert "no photos in" in done.stderr


def test_the_blocks_of_the_readme_run(finished: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = finished
    monkeypatch.chdir(folder)
    for block in README.examples():
        block.evaluate()


def test_the_readmes_first_lines_print_what_stands_below_them(capsys: pytest.CaptureFixture[str]) -> None:
    first = next(iter(README.examples()))
    first.evaluate()
    assert f"```python\n{first.parsed}```\n\n```text\n{capsys.readouterr().out}```" in README.text
