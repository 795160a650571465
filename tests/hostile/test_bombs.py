"""Small files that unpack to gigabytes, and thin ones, cost no more than a photo: each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .files import BOMBS

# A photo first, so that what loading and encoding take anyway is paid for.
PROGRAM = """
import json, sys, time
from pathlib import Path
from PIL import Image
from clip_image_encoder import ImageEncoder, ImageError
from clip_image_encoder.testing import ToyBackend

def memory(line):
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index(line) + 1]) / 1000

encoder = ImageEncoder(ToyBackend(image_size=(224, 224)), num_workers=0)
encoder.encode(Image.effect_noise((640, 480), 50))
Path("/proc/self/clear_refs").write_text("5")
idle, started = memory("VmRSS:"), time.process_time()
try:
    encoder.encode([Path(sys.argv[1])])
    outcome = "a vector"
except ImageError as error:
    outcome = type(error).__name__
seconds = time.process_time() - started
print(json.dumps({"outcome": outcome, "megabytes": memory("VmHWM:") - idle, "seconds": seconds}))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process's peak memory so")
@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_costs_less_than_300_megabytes_and_two_seconds(name: str, tmp_path: Path) -> None:
    make, outcome = BOMBS[name]
    file = tmp_path / "bomb"
    file.write_bytes(make())
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(file)], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    assert measured["outcome"] == outcome
    assert measured["megabytes"] < 300
    assert measured["seconds"] < 2  # of the processor, which a busy machine doesn't lengthen
