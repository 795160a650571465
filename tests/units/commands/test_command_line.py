"""What all commands have in common: help, exit statuses, and no traceback for a user's mistake."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import clip_image_encoder
from clip_image_encoder.__main__ import entry, main
from clip_image_encoder.commands import ADD_COMMANDS, serve

ROOT = Path(__file__).parents[3]
SCRIPT = shutil.which("clip-image-encoder")
COMMAND = [sys.executable, "-m", "clip_image_encoder"]


def misused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what is printed of a wrong command line, which ends with 2."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    return capsys.readouterr().err


def helped(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return what `--help` prints."""
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_the_script_that_is_installed_runs_the_same_as_python_m() -> None:
    line = re.search(r'^clip-image-encoder = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert line is not None
    assert EntryPoint(name="clip-image-encoder", value=line[1], group="console_scripts").load() is entry


@pytest.mark.skipif(SCRIPT is None, reason="the package was installed without the script")
def test_the_installed_script_says_its_version() -> None:
    done = subprocess.run([str(SCRIPT), "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"clip-image-encoder {clip_image_encoder.__version__}\n"


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"clip-image-encoder {clip_image_encoder.__version__}\n"


def test_help_lists_every_command_with_examples(capsys: pytest.CaptureFixture[str]) -> None:
    text = helped([], capsys)
    assert all(f"\n    {command} " in text for command in ADD_COMMANDS)
    assert "examples:\n  clip-image-encoder encode photos -o vectors.parquet\n" in text


@pytest.mark.parametrize("command", ADD_COMMANDS)
def test_help_of_a_command_describes_every_option_with_a_sentence(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    text = helped([command], capsys)
    options = re.findall(r"^  (-.+?|[A-Z]+)  +(.*)$", text, re.MULTILINE)
    assert len(options) > 3
    assert [name for name, words in options if not words.endswith(".") and not name.startswith("-h")] == []
    assert "\nexamples:\n  clip-image-encoder " in text


def test_help_imports_no_torch() -> None:
    program = "import sys\nfrom clip_image_encoder.__main__ import main\ntry: main(['encode', '--help'])\n"
    program += "finally: print('torch' in sys.modules, 'numpy' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stderr == "False False\n"


def test_without_a_command_there_is_help_and_the_status_of_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "examples:" in printed.err


def test_a_folder_in_the_place_of_a_command_is_answered_with_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = tmp_path / "my photos"
    photos.mkdir()
    error = misused([str(photos), "-o", "vectors.parquet"], capsys)
    assert f"did you mean: clip-image-encoder encode '{photos}' -o vectors.parquet" in error


def test_a_folder_that_is_called_like_a_command_does_not_hide_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "info").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["info", "tiny-shapes"]) == 0


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["inof", "tiny-shapes"], "invalid choice: 'inof'"),
        (["info"], "required: MODEL"),
        (["encode", "photos"], "required: -o/--output"),
        (["encode", "photos", "-o", "vectors.parquet", "--batch-size", "many"], "invalid int value: 'many'"),
    ],
)
def test_a_wrong_command_line_ends_with_2(
    arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problem in misused(arguments, capsys)


def test_a_mistake_is_one_line_in_another_process() -> None:
    done = subprocess.run([*COMMAND, "info", "./nowhere"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == "error: ./nowhere: no such folder, and not a hub id like 'owner/name' either\n"


@pytest.mark.parametrize("arguments", [["info", "tiny-shapes"], ["--help"]], ids=["info", "help"])
@pytest.mark.skipif(sys.platform == "win32", reason="pipes are closed in another way there")
def test_a_reader_that_has_gone_is_no_error(arguments: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    # As it is by default: what is printed waits in a buffer, at the latest until the process ends.
    buffered = {**os.environ, "PYTHONUNBUFFERED": ""}
    with os.fdopen(writing) as pipe:
        done = subprocess.run(
            [*COMMAND, *arguments], env=buffered, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")


def _takes_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl-C is sent in another way there")
def test_ctrl_c_ends_with_130_and_no_traceback(tmp_path: Path) -> None:
    photos, output = tmp_path / "photos", tmp_path / "vectors.parquet"
    photos.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1500, 2000, 3), np.uint8)).save(photos / "0.png")
    for number in range(1, 300):
        (photos / f"{number}.png").symlink_to(photos / "0.png")
    command = [*COMMAND, "encode", str(photos), "-o", str(output), "--model", "tiny-shapes"]
    # A program that is started in the background ignores Ctrl-C, and so do its children.
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_takes_interrupts
    )
    while not output.exists() and child.poll() is None:
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    printed, error = child.communicate(timeout=600)
    assert (child.returncode, printed, error) == (130, "", "interrupted\n")


def test_serve_without_its_extra_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(serve, "find_spec", lambda name: None)
    assert main(["serve", "tiny-shapes"]) == 1
    assert capsys.readouterr().err == (
        "error: serve needs fastapi: python -m pip install 'clip-image-encoder[server]'\n"
    )
