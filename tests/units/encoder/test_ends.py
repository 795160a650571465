"""A program that ends while an encoder is at work, by itself or by Ctrl-C."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

LATE = """
import atexit, threading
import numpy as np
from clip_image_encoder import ImageEncoder
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.testing import ToyBackend

encoder = ImageEncoder(backend=ToyBackend(), num_workers=2)
batcher = MicroBatcher(encoder)
pictures = np.zeros((5, 32, 32, 3), np.uint8)

def encode(when):
    print(when, encoder.encode(pictures).shape, batcher.encode(pictures[0]).shape, flush=True)

def outlive():
    threading.main_thread().join()
    encode("after main")

threading.Thread(target=outlive).start()
atexit.register(encode, "at exit")
"""

UNFINISHED = """
from clip_image_encoder import ImageEncoder
from clip_image_encoder.testing import ToyBackend

stream = ImageEncoder(backend=ToyBackend(), num_workers=2).stream([b""] * 1000, batch_size=2)
print(next(stream).start)
"""

BLOCKED = """
import os, signal
from clip_image_encoder import ImageEncoder
from clip_image_encoder.testing import ToyBackend

class Pipe:
    def __init__(self):
        self.end, self.kept_open = os.pipe()

    def read(self, size):
        print("reading", flush=True)
        return os.read(self.end, size)

# A child of a shell's background job begins deaf to Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)
ImageEncoder(backend=ToyBackend(), num_workers=1).encode([Pipe(), b""])
"""


@contextmanager
def child(program: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program, and kill it if it doesn't end."""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        watchdog = threading.Timer(600, process.kill)
        watchdog.daemon = True
        watchdog.start()
        yield process
        watchdog.cancel()


def test_a_thread_that_outlives_main_and_what_runs_at_exit_encode_as_ever() -> None:
    with child(LATE) as process:
        assert process.communicate() == ("after main (5, 16) (16,)\nat exit (5, 16) (16,)\n", "")
    assert process.returncode == 0


def test_a_program_ends_with_a_stream_that_nobody_finished() -> None:
    with child(UNFINISHED) as process:
        assert process.communicate() == ("0\n", "")
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="Windows sends Ctrl-C to whole consoles only")
def test_one_ctrl_c_ends_a_program_whose_read_never_ends() -> None:
    with child(BLOCKED) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "reading\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate()
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert process.returncode == -signal.SIGINT
