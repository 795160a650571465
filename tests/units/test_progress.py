"""The progress bar: on by itself where somebody watches long work, off elsewhere."""

from __future__ import annotations

import subprocess
import sys

import pytest
from PIL import Image

from clip_image_encoder import ImageEncoder


@pytest.fixture
def somebody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    """As at Python's prompt and in a notebook."""
    monkeypatch.setattr(sys, "ps1", ">>> ", raising=False)


def test_there_is_none_where_nobody_watches(
    toy: ImageEncoder, noise: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.encode([noise] * 40, batch_size=2)
    assert capsys.readouterr() == ("", "")


def test_true_shows_one_anywhere_on_stderr(
    toy: ImageEncoder, noise: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.encode([noise] * 4, batch_size=2, show_progress=True)
    output, errors = capsys.readouterr()
    assert output == ""
    assert "4/4" in errors
    assert "image/s" in errors


@pytest.mark.usefixtures("somebody_watches")
def test_long_work_that_somebody_watches_has_one(
    toy: ImageEncoder, noise: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    toy.encode([noise] * 40, batch_size=2)
    assert "40/40" in capsys.readouterr().err


@pytest.mark.usefixtures("somebody_watches")
@pytest.mark.parametrize("count", [0, 1, 2, 5, 6])
def test_three_batches_need_none(
    toy: ImageEncoder, noise: Image.Image, capsys: pytest.CaptureFixture[str], count: int
) -> None:
    toy.encode([noise] * count, batch_size=2)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("somebody_watches")
def test_false_shows_none_anywhere(toy: ImageEncoder, noise: Image.Image, capsys: pytest.CaptureFixture[str]) -> None:
    toy.encode([noise] * 40, batch_size=2, show_progress=False)
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("somebody_watches")
def test_a_stream_of_unknown_length_counts_up(
    toy: ImageEncoder, noise: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in toy.stream((noise for _ in range(11)), batch_size=2):
        pass
    assert "11image" in capsys.readouterr().err


def test_the_application_may_choose_its_start_method_after_a_bar() -> None:
    program = (
        "import multiprocessing\n"
        "from PIL import Image\n"
        "from clip_image_encoder import ImageEncoder\n"
        "from clip_image_encoder.testing import ToyBackend\n"
        "ImageEncoder(backend=ToyBackend()).encode([Image.new('RGB', (8, 8))] * 3, show_progress=True)\n"
        "multiprocessing.set_start_method('spawn')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "3/3" in done.stderr
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
