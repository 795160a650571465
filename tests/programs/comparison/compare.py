"""Twelve awkward files through every system: `nox -s compare`. Writes the table into docs/benchmarks/comparison.md.

Each file meets each system in a process of its own, so that a crash, a hang and a lack of memory are results.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.programs.benchmarks.checkpoint import BUNDLED, save_for_fastembed
from tests.programs.comparison.awkward_files import AWKWARD, Awkward
from tests.programs.comparison.packages import SYSTEMS

PAGE = Path("docs/benchmarks/comparison.md")
_SAME = 0.999  # JPEG and palettes cost less than that
_WORTH_TELLING = 100  # megabytes

_PACKAGES = ("sentence-transformers", "transformers", "fastembed", "torch", "onnxruntime", "pillow")


def outcome(system: str, checkpoint: Path, file: Path, seen: Path) -> dict[str, Any]:
    """Return what comes of one file in one system."""
    arguments = [system, str(checkpoint), str(file), str(seen)]
    command = [sys.executable, "-m", "tests.programs.comparison.one_file", *arguments]
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, errors="replace")
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        reason = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit {done.returncode}"
        return {"ended": f"the process died, {reason}"}
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def cell(awkward: Awkward, found: dict[str, Any]) -> str:
    """Say in a few words what happened."""
    if "ended" in found:
        return f"**{found['ended']}**"
    if "error" in found:
        text = f"{found['error']}, {'names' if found['named'] else 'does not name'} the file"
    elif awkward.seen is None:
        text = "**a vector**"
    elif found["cosine"] >= _SAME:
        text = f"right, {found['cosine']:.4f}"
    else:
        text = f"**another image, {found['cosine']:.2f}**"
    return text + (f"; {found['megabytes']:,.0f} MB" if found["megabytes"] >= _WORTH_TELLING else "")


def rows(folder: Path) -> list[str]:
    """Make the files, run every system on each, and return the table."""
    checkpoint, blank = folder / "tiny-shapes", folder / "blank.png"
    shutil.copytree(BUNDLED, checkpoint)
    save_for_fastembed(checkpoint, checkpoint / "fastembed", side=64)
    next(each.seen for each in AWKWARD.values() if each.seen)().save(blank)
    table = [f"| file | {' | '.join(SYSTEMS)} |", "| --- " * (1 + len(SYSTEMS)) + "|"]
    for title, awkward in AWKWARD.items():
        file, seen = folder / awkward.name, folder / f"seen-{awkward.name}.png"
        awkward.write(file)
        if awkward.seen:
            awkward.seen().convert("RGB").save(seen)
        cells = [cell(awkward, outcome(name, checkpoint, file, seen if awkward.seen else blank)) for name in SYSTEMS]
        table.append(f"| {title} | {' | '.join(cells)} |")
        print(table[-1], flush=True)
    return table


def main() -> None:
    """Put the table into the page, between its two marks."""
    with tempfile.TemporaryDirectory() as folder:
        table = rows(Path(folder))
    versions = ", ".join(f"{name} {version(name)}" for name in _PACKAGES)
    made = "\n".join([*table, "", f"Python {platform.python_version()}, {versions}."])
    page = PAGE.read_text("utf-8")
    PAGE.write_text(re.sub(r"(?s)(<!-- table -->\n).*?(\n<!-- end -->)", rf"\g<1>\n{made}\n\g<2>", page), "utf-8")


if __name__ == "__main__":
    main()
