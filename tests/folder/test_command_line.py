"""python -m clip_image_encoder FOLDER -o vectors.parquet."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from clip_image_encoder.__main__ import main


def test_it_writes_the_vectors_of_a_folder_and_says_what_it_did(gallery: Callable[[int], Path], tmp_path: Path) -> None:
    root = gallery(6)
    (root / "broken.png").write_bytes(b"broken")
    command = [sys.executable, "-m", "clip_image_encoder", str(root), "-o", "vectors.parquet", "--model", "tiny-shapes"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "6 embedded, 1 failed, 0 written before: vectors.parquet\n"
    assert pq.read_table(tmp_path / "vectors.parquet").num_rows == 7


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["missing", "--model", "tiny-shapes"], "not a folder"),
        ([".", "--model", "tiny-shapes", "--backend", "nosuch"], "no backend 'nosuch'"),
        ([".", "--model", "tiny-shapes", "--dtype", "floaty"], "no dtype 'floaty'"),
        ([".", "--model", "./nowhere"], "nowhere"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments, "-o", "vectors.parquet"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert problem in error
    assert error.count("\n") == 1
