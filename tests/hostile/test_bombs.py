"""What one file may cost, however it is made: each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from .files import BOMBS

# A photo first, so that what loading and encoding take anyway is paid for.
PROGRAM = """
import json, sys, time, zlib
from pathlib import Path
from PIL import Image
from clip_image_encoder import ImageEncoder, ImageError
from clip_image_encoder.testing import ToyBackend

def memory(line):
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index(line) + 1]) / 1000

encoder = ImageEncoder(backend=ToyBackend(image_size=(224, 224)), num_workers=0)
encoder.encode(Image.effect_noise((640, 480), 50))
Path("/proc/self/clear_refs").write_text("5")
idle, started = memory("VmRSS:"), time.process_time()
try:
    encoder.encode([Path(sys.argv[1])])
    outcome = "a vector"
except ImageError as error:
    outcome = type(error).__name__
seconds = time.process_time() - started
megabytes = memory("VmHWM:") - idle
started = time.process_time()
zlib.compress(bytes(20_000_000))
yardstick = time.process_time() - started
print(json.dumps({"outcome": outcome, "megabytes": megabytes, "seconds": seconds, "yardstick": yardstick}))
"""

# Seconds that compressing 20 MB takes where a file is to take 3 at most. A slower processor may take longer.
YARDSTICK = 0.09


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process's peak memory so")
@pytest.mark.parametrize("name", BOMBS)
def test_a_file_costs_less_than_800_megabytes_and_three_seconds(name: str, tmp_path: Path) -> None:
    make, outcome = BOMBS[name]
    file = tmp_path / "bomb"
    file.write_bytes(make())
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(file)], capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    assert measured["outcome"] == outcome
    assert measured["megabytes"] < 800
    assert measured["seconds"] < 3 * max(1, measured["yardstick"] / YARDSTICK)
