"""Exports that are killed: the folder is whole or absent, and the next export removes what was begun."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder import export as exporting
from clip_image_encoder.export import export

# Forks one child for each moment, which is killed before it changes the disk for the n-th time, until one ends by
# itself; after each, this process exports to the same folder.
_KILLS = """
import json, os, signal, sys
from pathlib import Path
from shutil import rmtree
from clip_image_encoder.export import export

CHANGES = {"os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.truncate", "os.link", "os.symlink"}
beside, target = Path(sys.argv[1]), Path(sys.argv[1], "made")

def files(folder):
    return {str(file.relative_to(folder)): file.stat().st_size for file in folder.rglob("*")}

def state():
    return "absent" if not target.exists() else "whole" if files(target) == whole else "partial"

def killed_at(moment):
    left = moment

    def watch(event, arguments):
        nonlocal left
        if event in CHANGES or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        sys.addaudithook(watch)
        export("tiny-shapes", target)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

export("tiny-shapes", target)
whole = files(target)
moment, seen = 0, []
going_on = True
while going_on:
    rmtree(target)
    moment += 1
    going_on = killed_at(moment)
    found = state()
    if found == "absent":
        export("tiny-shapes", target)
    seen.append([going_on, found, state(), sorted(path.name for path in beside.iterdir() if path != target)])
print(json.dumps(seen))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither fork nor SIGKILL")
def test_killed_at_any_moment_the_folder_is_whole_or_absent_and_the_next_export_tidies_up(tmp_path: Path) -> None:
    export("tiny-shapes", tmp_path / "first")  # makes the graphs, which the program finds
    (beside := tmp_path / "beside").mkdir()
    # Without threads of torch, which a fork would lack.
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", _KILLS, str(beside)]
    ran = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    moments: list[tuple[bool, str, str, list[str]]] = json.loads(ran.stdout)
    *killed, ended = moments
    assert tuple(ended) == (False, "whole", "whole", [])
    assert {found for _, found, _, _ in killed} == {"absent", "whole"}
    assert {found for _, _, found, _ in killed} == {"whole"}
    # After a kill behind the last step the folder is whole: no other export follows that would remove the empty lock.
    assert [left for _, found, _, left in killed if found == "absent" and left] == []
    assert ImageEncoder(beside / "made").dimension == 64


def test_what_a_living_export_writes_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = exporting._numbers
    refusals: list[str] = []

    def while_another_one_tries(*arguments: Any) -> dict[str, float]:
        monkeypatch.setattr(exporting, "_numbers", numbers)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(ConfigurationError) as refusal:
            export("tiny-shapes", tmp_path / "made")
        assert sorted(tmp_path.rglob("*")) == before
        refusals.append(str(refusal.value))
        return numbers(*arguments)

    monkeypatch.setattr(exporting, "_numbers", while_another_one_tries)
    export("tiny-shapes", tmp_path / "made")
    assert "another job writes to" in refusals[0]
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert ImageEncoder(tmp_path / "made").dimension == 64


def test_what_lies_beside_under_the_name_of_unfinished_exports_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "made-unfinished").mkdir()
    (tmp_path / "made-unfinished" / "notes.txt").write_text("mine")
    export("tiny-shapes", tmp_path / "made", texts=False)
    assert [path.name for path in (tmp_path / "made-unfinished").iterdir()] == ["notes.txt"]
