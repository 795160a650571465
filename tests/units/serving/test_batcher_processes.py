"""A batcher in programs that end or fork without closing it."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

PROLOGUE = """
import os, threading
import numpy as np
from clip_image_encoder import ImageEncoder
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.testing import ToyBackend

batcher = MicroBatcher(ImageEncoder(backend=ToyBackend()))
picture = np.zeros((32, 32, 3), np.uint8)
vector = batcher.encode(picture)
"""


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROLOGUE + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_a_program_ends_though_nobody_closes_it() -> None:
    assert run("print('the end')") == "the end"


def test_a_program_ends_though_calls_wait_and_when_the_batch_that_has_begun_is_done() -> None:
    program = """
    begun = threading.Event()

    class Slow(ToyBackend):
        def __call__(self, pixels, /, *, output, device):
            begun.set()
            threading.main_thread().join()
            # Time enough for a program that does not wait to be gone.
            threading.Event().wait(0.5)
            os.write(1, b"a batch is done\\n")
            return super().__call__(pixels, output=output, device=device)

    slow = MicroBatcher(ImageEncoder(backend=Slow()), max_batch_size=1)
    for _ in range(100):
        slow._queue.put(picture)
    begun.wait()
    print("the end", flush=True)
    """
    assert run(program) == "the end\na batch is done"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_in_a_forked_process_it_begins_afresh_and_the_parents_goes_on() -> None:
    program = """
    child = os.fork()
    if child == 0:
        same = np.allclose(batcher.encode(picture), vector)
        counted = batcher.stats.calls == 1
        os._exit(0 if same and counted else 1)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), np.allclose(batcher.encode(picture), vector), batcher.stats.calls)
    """
    assert run(program) == "0 True 2"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_a_fork_ends_by_itself_though_its_parents_queue_was_locked() -> None:
    program = """
    locked, forked = threading.Event(), threading.Event()

    def hold():
        with batcher._queue._lock:
            locked.set()
            forked.wait()

    holder = threading.Thread(target=hold)
    holder.start()
    locked.wait()
    child = os.fork()
    forked.set()
    if child == 0:
        raise SystemExit(0 if np.allclose(batcher.encode(picture), vector) else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run(program) == "0"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_in_a_forked_process_it_reads_a_file_that_the_parents_was_reading() -> None:
    program = """
    import io
    from PIL import Image

    parent, reading, go_on = os.getpid(), threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size=-1, /):
            if os.getpid() == parent:
                reading.set()
                go_on.wait()
            return super().read(size)

    file = Slow()
    Image.fromarray(picture).save(file, "PNG")
    caller = threading.Thread(target=batcher.encode, args=(file,))
    caller.start()
    reading.wait()
    child = os.fork()
    if child == 0:
        raise SystemExit(0 if np.allclose(batcher.encode(file), vector) else 1)
    go_on.set()
    caller.join()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    """
    assert run(program) == "0"


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system has no fork")
def test_in_a_forked_process_it_loads_though_the_parents_threads_are_all_loading() -> None:
    program = """
    parent, loading, go_on = os.getpid(), threading.Semaphore(0), threading.Event()

    class Slow:
        def __array__(self, dtype=None, copy=None):
            if os.getpid() == parent:
                loading.release()
                go_on.wait()
            return picture

    calls = [batcher._queue.put(Slow()) for _ in range(9)]
    for _ in range(2):
        loading.acquire()
    child = os.fork()
    if child == 0:
        raise SystemExit(0 if np.allclose(batcher.encode(Slow()), vector) and batcher.stats.queue_depth == 0 else 1)
    go_on.set()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), all(np.allclose(call.result(), vector) for call in calls))
    """
    assert run(program) == "0 True"


def test_a_program_ends_though_an_image_loads_for_ever() -> None:
    program = """
    loading = threading.Event()

    class Endless:
        def __array__(self, dtype=None, copy=None):
            loading.set()
            threading.Event().wait()

    batcher._queue.put(Endless())
    loading.wait()
    print("the end")
    """
    assert run(program) == "the end"
