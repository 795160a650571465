"""Encoders in processes that are forked from one that computes or has computed, as some servers do."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.queues import SimpleQueue
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import BackendError, ConfigurationError, ImageEncoder, TextEncoder
from clip_image_encoder.cache import CachedEncoder, MemoryCache

pytestmark = [
    pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork"),
    pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning"),
]

PICTURES = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
TEXTS = ["a red circle", "a blue star"]
ENCODE: dict[str, Callable[[], Any]] = {
    "torch": lambda: ImageEncoder("tiny-shapes", device="cpu"),
    "onnx": lambda: ImageEncoder("tiny-shapes", backend="onnx"),
    "text": lambda: TextEncoder("tiny-shapes", device="cpu"),
}
AT_WORK = """
import os, threading
from clip_image_encoder import BackendError
from clip_image_encoder import _forks as forks

entered, leave, left = threading.Event(), threading.Event(), threading.Event()

def work():
    with forks.no_fork():
        entered.set()
        leave.wait()
        left.set()

def status_of_child(work):
    child = os.fork()
    if child == 0:
        os._exit(0 if work() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

thread = threading.Thread(target=work)
thread.start()
entered.wait()
"""


def in_a_fork(work: Callable[[], Any]) -> Any:
    fork = multiprocessing.get_context("fork")
    results: SimpleQueue[Any] = fork.SimpleQueue()
    process = fork.Process(target=lambda: results.put(work()))
    process.start()
    process.join(600)
    if process.is_alive():
        process.kill()
        pytest.fail("the forked process hangs")
    assert process.exitcode == 0
    return results.get()


@contextmanager
def held_by_another_thread(lock: Any) -> Iterator[None]:
    held, release = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            held.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait()
    yield
    release.set()
    thread.join()


def run(program: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("anew", [False, True], ids=["the same encoder", "loaded anew"])
@pytest.mark.parametrize("kind", ENCODE)
def test_a_fork_gives_the_same_vectors(kind: str, anew: bool) -> None:
    encoder = ENCODE[kind]()
    items: Any = TEXTS if kind == "text" else PICTURES
    expected = encoder.encode(items)
    encoded = in_a_fork(lambda: (pickle.loads(pickle.dumps(encoder)) if anew else encoder).encode(items))
    np.testing.assert_allclose(encoded, expected, atol=1e-5)


@pytest.mark.parametrize("kind", ENCODE)
def test_a_fork_encodes_though_another_thread_held_the_lock(kind: str) -> None:
    encoder = ENCODE[kind]()
    items: Any = TEXTS if kind == "text" else PICTURES[:2]
    expected = encoder.encode(items)
    backend = encoder.backend
    towers: Any = vars(backend).get("_towers") or vars(backend)["_runs"]
    with held_by_another_thread(towers._loaded._lock):
        encoded = in_a_fork(lambda: encoder.encode(items))
    np.testing.assert_allclose(encoded, expected, atol=1e-5)


@pytest.mark.parametrize("anew", [False, True], ids=["the same encoder", "loaded anew"])
def test_openvino_is_refused_at_once_in_a_fork_of_a_process_in_which_it_ran(anew: bool) -> None:
    encoder = ImageEncoder("tiny-shapes", backend="openvino")

    def refusal() -> str:
        with pytest.raises(BackendError, match="forked from one in which it ran") as caught:
            (ImageEncoder("tiny-shapes", backend="openvino") if anew else encoder).encode(PICTURES[:2])
        return str(caught.value)

    assert "'spawn'" in in_a_fork(refusal)
    assert encoder.encode(PICTURES[:2]).shape == (2, encoder.dimension)


def test_openvino_runs_in_a_fork_of_a_process_in_which_it_did_not() -> None:
    program = """
import os
import numpy as np
import clip_image_encoder.backends.openvino
from clip_image_encoder import ImageEncoder

child = os.fork()
if child == 0:
    ImageEncoder("tiny-shapes", backend="openvino").encode(np.zeros((2, 64, 64, 3), np.uint8))
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(program) == "0"


@pytest.mark.parametrize("part", ["cache", "encoder"])
def test_a_fork_looks_into_the_cache_though_another_thread_held_its_lock(part: str, toy: ImageEncoder) -> None:
    cache = MemoryCache()
    encoder = CachedEncoder(toy, cache)
    expected = encoder.encode(PICTURES[:2])
    with held_by_another_thread((cache if part == "cache" else encoder)._lock):
        np.testing.assert_array_equal(in_a_fork(lambda: encoder.encode(PICTURES[:2])), expected)


def test_a_fork_reads_a_file_that_another_thread_was_reading(toy: ImageEncoder) -> None:
    parent, reading, go_on = os.getpid(), threading.Event(), threading.Event()

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            if os.getpid() == parent:
                reading.set()
                go_on.wait()
            return super().read(size)

    file = Slow()
    Image.fromarray(PICTURES[0]).save(file, "PNG")
    reader = threading.Thread(target=toy.encode, args=(file,))
    reader.start()
    reading.wait()
    try:
        np.testing.assert_array_equal(in_a_fork(lambda: toy.encode(file)), toy.encode(PICTURES[0]))
    finally:
        go_on.set()
        reader.join()


def test_a_fork_ends_with_all_destructors_though_the_runtimes_threads_are_not_there() -> None:
    program = """
import os, sys
import numpy as np
from clip_image_encoder import ImageEncoder

pictures = np.random.default_rng(0).integers(0, 256, (40, 64, 64, 3), dtype=np.uint8)
encoders = [ImageEncoder("tiny-shapes", backend=backend) for backend in ("onnx", "openvino")]
for encoder in encoders:
    encoder.encode(pictures)
for works in (True, False):
    child = os.fork()
    if child == 0:
        if works:
            encoders[0].encode(pictures)
        sys.exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(program).split() == ["0", "0"]


def test_a_fork_tokenizes_where_tokenizers_are_told_to_use_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    encoder = TextEncoder("tiny-shapes", device="cpu")
    expected = encoder.encode(TEXTS * 50)
    np.testing.assert_allclose(in_a_fork(lambda: encoder.encode(TEXTS * 50)), expected, atol=1e-5)


def test_a_stream_is_not_continued_in_a_fork(toy: ImageEncoder) -> None:
    stream = toy.stream(PICTURES, batch_size=2)
    next(stream)

    def go_on() -> str:
        with pytest.raises(ConfigurationError) as caught:
            next(stream)
        return str(caught.value)

    assert in_a_fork(go_on) == "a stream can't be continued in a forked process; start a new one there"
    stream.close()


def test_a_fork_waits_until_another_thread_has_finished() -> None:
    # Python calls what was registered last first: the thread is let go when the fork has begun.
    program = "os.register_at_fork(before=leave.set); print(status_of_child(left.is_set))"
    assert run(AT_WORK + program) == "0"


def test_a_fork_waits_until_another_thread_has_left_the_cache_on_disk(tmp_path: Path) -> None:
    program = f"""
from clip_image_encoder.cache import DiskCache

leave.set()
thread.join()
for event in (entered, leave, left):
    event.clear()

class Keys(list):
    def __iter__(self):
        entered.set()
        leave.wait()
        left.set()
        return super().__iter__()

reader = threading.Thread(target=DiskCache({str(tmp_path / "vectors.sqlite")!r}).get, args=(Keys(),))
reader.start()
entered.wait()
os.register_at_fork(before=leave.set)
print(status_of_child(left.is_set))
"""
    assert run(AT_WORK + program) == "0"


def test_a_fork_that_could_not_wait_is_told_so_in_the_child() -> None:
    program = """
forks._LONGEST_WAIT = 0

def is_refused():
    try:
        with forks.no_fork():
            return False
    except BackendError as error:
        return "fork between two calls" in str(error)

print(status_of_child(is_refused))
leave.set()
thread.join()
with forks.no_fork():
    print("the parent goes on")
"""
    assert run(AT_WORK + program) == "0\nthe parent goes on"


def test_a_thread_that_is_at_work_may_fork_itself() -> None:
    program = """
leave.set()
thread.join()

def goes_on():
    with forks.no_fork():
        return True

with forks.no_fork():
    print(status_of_child(goes_on))
with forks.no_fork():
    print(status_of_child(goes_on))
"""
    assert run(AT_WORK + program) == "0\n0"
