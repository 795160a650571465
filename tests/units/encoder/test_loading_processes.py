"""Images that are loaded in processes: the same vectors, errors and warnings as in threads, whatever happens there."""

from __future__ import annotations

import gc
import io
import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from clip_image_encoder import (
    ClipPreprocess,
    ConfigurationError,
    ContractError,
    CorruptImageError,
    ImageEncoder,
    ImageError,
    ImageLoader,
    ImageNotFoundError,
)
from clip_image_encoder.serving import MicroBatcher
from clip_image_encoder.testing import ToyBackend

SIDE = 32


@pytest.fixture
def files(photos: list[Image.Image], tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.jpg" for number in range(len(photos))]
    for photo, path in zip(photos, paths, strict=True):
        photo.save(path)
    return paths


def encoder(preprocess: Any = None, *, load_in: Any = "processes", **settings: Any) -> ImageEncoder:
    preprocess = preprocess or ClipPreprocess(resize=SIDE, crop=(SIDE, SIDE), exact=False)
    return ImageEncoder(backend=ToyBackend(), preprocess=preprocess, load_in=load_in, **{"num_workers": 2} | settings)


def processes_of(encoder: ImageEncoder) -> list[subprocess.Popen[bytes]]:
    return [process._popen for process in encoder._to_pixels._idle.queue if process]  # type: ignore[attr-defined]


@contextmanager
def held(encoder: ImageEncoder, count: int) -> Iterator[None]:
    """Let other threads have so many of an encoder's processes."""
    taken, done = threading.Semaphore(0), threading.Event()

    def hold(_process: object) -> None:
        taken.release()
        done.wait()

    with ThreadPoolExecutor(count) as pool:
        for _ in range(count):
            pool.submit(encoder._to_pixels._lend, hold)  # type: ignore[attr-defined]
        try:
            assert all(taken.acquire(timeout=60) for _ in range(count))
            yield
        finally:
            done.set()


class Darkest:
    """A preprocess that a black image surprises; what it does with that one, a subclass says."""

    def __call__(self, image: Image.Image) -> NDArray[np.float32]:
        pixels = np.asarray(image.resize((SIDE, SIDE)), np.float32).transpose(2, 0, 1)
        if not pixels.any():
            self.meet_black()
        return pixels / np.float32(255)

    def meet_black(self) -> None:
        raise NotImplementedError


class Crashes(Darkest):
    def meet_black(self) -> None:
        os._exit(3)


class Raises(Darkest):
    def meet_black(self) -> None:
        raise ZeroDivisionError("all is black")


class Prints(Darkest):
    def meet_black(self) -> None:
        print("all is black", flush=True)


@pytest.fixture
def with_black(files: list[Path], tmp_path: Path) -> list[Path]:
    """Files of which the third is black."""
    Image.new("RGB", (SIDE, SIDE)).save(tmp_path / "black.png")
    return [*files[:2], tmp_path / "black.png", *files[2:4]]


def test_vectors_are_those_of_threads(files: list[Path], photos: list[Image.Image]) -> None:
    file = io.BytesIO(files[5].read_bytes())
    inputs: list[Any] = [*files[:3], files[3].read_bytes(), str(files[4]), file, photos[6], np.asarray(photos[7])]
    vectors = encoder().encode(inputs, batch_size=3)
    np.testing.assert_array_equal(vectors, encoder(load_in="threads").encode(inputs, batch_size=3))
    np.testing.assert_array_equal(encoder().encode(files[0]), vectors[0])


@dataclass
class Meets:
    """A preprocess that waits until three processes have called it; each leaves a file of its name."""

    folder: Path

    def __call__(self, image: Image.Image) -> NDArray[np.float32]:
        (self.folder / str(os.getpid())).touch()
        latest = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < 3:
            assert time.monotonic() < latest
            time.sleep(0.01)
        return np.zeros((3, SIDE, SIDE), np.float32)


def test_files_are_decoded_in_as_many_processes_as_workers(
    files: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("met")
    made = encoder(Meets(folder), num_workers=3)
    first = processes_of(made)
    made.encode(files * 3, batch_size=11)
    used = {process.pid for process in processes_of(made)}
    assert len(first) == 1
    assert {first[0].pid} <= used
    assert {int(file.name) for file in folder.iterdir()} == used
    assert os.getpid() not in used


def test_a_slow_image_leaves_a_process_for_the_others_of_a_batcher(files: list[Path]) -> None:
    made = encoder(num_workers=1)
    with ThreadPoolExecutor(1) as pool, held(made, 1):
        assert pool.submit(made.encode, files[0]).result(timeout=60).shape == (made.dimension,)


def test_an_error_is_that_of_threads(files: list[Path]) -> None:
    inputs: list[Any] = [files[0], "missing.jpg", b"\x89PNG\r\n\x1a\n, and then nothing", files[1]]
    batch = next(encoder().stream(inputs))
    expected = next(encoder(load_in="threads").stream(inputs))
    assert [(type(failure), str(failure)) for failure in batch.failures] == [
        (type(failure), str(failure)) for failure in expected.failures
    ]
    assert [type(failure) for failure in batch.failures] == [ImageNotFoundError, CorruptImageError]
    assert [type(failure.__cause__) for failure in batch.failures] == [
        type(failure.__cause__) for failure in expected.failures
    ]
    np.testing.assert_array_equal(batch.embeddings, expected.embeddings)


def test_a_warning_of_the_loader_is_given(files: list[Path]) -> None:
    cut = files[0].read_bytes()[:-2000]
    made = encoder(loader=ImageLoader(truncated="keep"))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made.encode(cut)
    assert [str(warning.message).partition(": ")[2] for warning in caught] == [
        "the end of its JPEG data is missing; what is left of it is used"
    ]


class TellsThreads(Darkest):
    def meet_black(self) -> None:
        raise ValueError(os.environ["OMP_NUM_THREADS"])


def test_a_process_has_one_thread_for_products_unless_the_user_says_otherwise(
    with_black: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for said, threads in ((None, "1"), ("3", "3")):
        if said:
            monkeypatch.setenv("OMP_NUM_THREADS", said)
        else:
            monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        with pytest.raises(ContractError, match=f"ValueError: {threads}"):
            encoder(TellsThreads()).encode(with_black[2])


def test_an_image_that_ends_its_process_is_an_error_of_its_own(with_black: list[Path]) -> None:
    batch = next(encoder(Crashes()).stream(with_black))
    assert [str(failure) for failure in batch.failures] == [
        f"image 2 ({with_black[2]}): the process that loaded it ended with status 3"
    ]
    assert np.isfinite(batch.embeddings).all(axis=1).tolist() == [True, True, False, True, True]


def test_a_process_that_has_ended_is_replaced(files: list[Path]) -> None:
    made = encoder()
    (process,) = processes_of(made)
    process.kill()
    process.wait()
    np.testing.assert_array_equal(made.encode(files[0]), encoder(load_in="threads").encode(files[0]))


def test_a_preprocess_that_raises_is_named(with_black: list[Path]) -> None:
    with pytest.raises(ContractError, match="preprocess Raises raised ZeroDivisionError: all is black"):
        encoder(Raises()).encode(with_black)


class RaisesOddError(Darkest):
    def meet_black(self) -> None:
        raise OddError


class OddError(ImageError):
    def __init__(self) -> None:
        super().__init__("all is black", source="somewhere")


def test_an_error_of_this_package_that_can_not_be_pickled_is_told(with_black: list[Path]) -> None:
    with pytest.raises(ContractError, match="OddError: somewhere: all is black"):
        encoder(RaisesOddError()).encode(with_black)


class Warns(Darkest):
    def meet_black(self) -> None:
        warnings.warn("all is black", type("OddWarning", (UserWarning,), {}), stacklevel=1)


def test_a_warning_that_can_not_be_pickled_is_told(with_black: list[Path]) -> None:
    with pytest.warns(UserWarning, match="all is black"):
        encoder(Warns()).encode(with_black)


def test_an_error_is_freed_with_its_file_when_it_has_been_handled() -> None:
    made = encoder()
    gc.disable()
    try:
        made._prepare(b"no image")
    except ImageError as error:
        handled = weakref.ref(error)
    assert handled() is None
    gc.enable()


class UnpicklableError(Exception):
    def __init__(self, *, what: str) -> None:
        super().__init__(what)


class RaisesUnpicklable(Darkest):
    def meet_black(self) -> None:
        raise UnpicklableError(what="all is black")


def test_a_cause_that_can_not_be_pickled_is_told(with_black: list[Path]) -> None:
    with pytest.raises(ContractError, match="RaisesUnpicklable raised UnpicklableError: all is black") as caught:
        encoder(RaisesUnpicklable()).encode(with_black)
    assert repr(caught.value.__cause__) == "RuntimeError('UnpicklableError: all is black')"


def test_what_a_preprocess_prints_is_no_answer(with_black: list[Path]) -> None:
    np.testing.assert_array_equal(
        encoder(Prints()).encode(with_black), encoder(Prints(), load_in="threads").encode(with_black)
    )


class OfTheScript(Darkest):
    """As if it were defined in the script that runs, which no other process imports."""


@pytest.mark.parametrize("make", [lambda: lambda image: image, OfTheScript], ids=["lambda", "class of the script"])
def test_a_preprocess_that_can_not_be_sent_is_refused_at_once(
    make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OfTheScript, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "OfTheScript", OfTheScript, raising=False)
    with pytest.raises(ConfigurationError, match=r"can't be sent to other processes .*in a module, not in the script"):
        encoder(make())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"load_in": "fibers"}, "load_in must be 'threads' or 'processes', not 'fibers'"),
        ({"num_workers": 0}, "load_in='processes' needs num_workers of at least 1"),
    ],
)
def test_wrong_arguments_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        encoder(**settings)


def test_a_frozen_program_is_told_to_load_in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(ConfigurationError, match="no Python interpreter was found to start processes with"):
        encoder()


def test_a_system_that_starts_no_more_processes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: object, **_settings: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(ConfigurationError, match=r"no process can be started .*Too many open files"):
        encoder()


def test_a_format_that_only_this_process_knows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(Image.OPEN, "ODD", (lambda *_arguments: None, None))
    with pytest.raises(ConfigurationError, match=r"can't be sent to other processes .*ODD"):
        encoder(loader=ImageLoader(formats=("JPEG", "ODD")))


def test_processes_end_with_the_encoder(files: list[Path]) -> None:
    made = encoder()
    made.encode(files, batch_size=4)
    processes = processes_of(made)
    del made
    gc.collect()
    assert [process.returncode for process in processes] == [-signal.SIGKILL] * len(processes)
    assert all(process.stdin and process.stdin.closed for process in processes)


PROGRAM = """
import sys
from clip_image_encoder import ClipPreprocess, ImageEncoder
from clip_image_encoder.testing import ToyBackend

preprocess = ClipPreprocess(resize=32, crop=(32, 32))
encoder = ImageEncoder(backend=ToyBackend(), preprocess=preprocess, num_workers=2, load_in="processes")
print(encoder.encode(sys.argv[1:]).shape, flush=True)
"""


def test_a_script_needs_no_guard_and_ends(files: list[Path]) -> None:
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM, *files], capture_output=True, text=True, timeout=100, check=True
    )
    assert result.stdout == f"({len(files)}, 16)\n"
    assert not result.stderr


def test_processes_end_when_their_program_is_killed(files: list[Path]) -> None:
    program = f"{PROGRAM}sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", program, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline()
        running.kill()
        # Its processes write to the same pipe, which ends when no process has it open any more.
        assert not running.stderr.read()


def test_ctrl_c_leaves_the_processes_to_the_program(files: list[Path]) -> None:
    made = encoder(num_workers=1)
    (process,) = processes_of(made)
    process.send_signal(signal.SIGINT)
    made.encode(files[:3])
    assert process.poll() is None


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_loads_in_processes_of_its_own(files: list[Path]) -> None:
    made = encoder()
    expected = made.encode(files, batch_size=4)

    def encode() -> None:
        np.testing.assert_array_equal(made.encode(files, batch_size=4), expected)
        assert all(process.poll() is None for process in processes_of(made))

    with held(made, 2):  # all that there are
        child = multiprocessing.get_context("fork").Process(target=encode)
        child.start()
        child.join(60)
        child.kill()
    before = {process.pid for process in processes_of(made)}
    assert child.exitcode == 0
    np.testing.assert_array_equal(made.encode(files, batch_size=4), expected)
    assert before == {process.pid for process in processes_of(made)}


FORK = """
import os, pickle, sys, threading
from clip_image_encoder import ClipPreprocess, ImageEncoder
from clip_image_encoder.testing import ToyBackend

preprocess = ClipPreprocess(resize=32, crop=(32, 32))
encoder = ImageEncoder(backend=ToyBackend(), preprocess=preprocess, num_workers=1, load_in="processes")
asked, load = threading.Event(), pickle.load

def ask(file):
    asked.set()
    return load(file)

pickle.load = ask
# Nothing is asked, so that the thread waits for an answer, with the lock of the pipe.
threading.Thread(target=encoder._to_pixels._lend, args=[lambda process: process._exchange(b"")], daemon=True).start()
asked.wait()
child = os.fork()
if child == 0:
    sys.exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="this system has no fork")
def test_a_fork_ends_while_a_thread_of_its_parent_waits_for_an_answer() -> None:
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORK], stdout=subprocess.PIPE, text=True, timeout=100, check=True
    )
    assert result.stdout == "7\n"


def test_a_pickle_loads_in_processes_too(files: list[Path]) -> None:
    copy = pickle.loads(pickle.dumps(encoder()))
    assert processes_of(copy)
    np.testing.assert_array_equal(copy.encode(files), encoder(load_in="threads").encode(files))


def test_many_threads_share_them(files: list[Path]) -> None:
    made = encoder()
    expected = encoder(load_in="threads").encode(files)
    with ThreadPoolExecutor(8) as pool:
        vectors = list(pool.map(made.encode, files * 3))
    np.testing.assert_allclose(np.stack(vectors), np.concatenate([expected] * 3), atol=1e-6)
    assert len(processes_of(made)) <= 2


def test_a_batcher_loads_in_them(files: list[Path]) -> None:
    with MicroBatcher(encoder()) as batcher, ThreadPoolExecutor(4) as pool:
        vectors = list(pool.map(batcher.encode, files))
        with pytest.raises(ImageError):
            batcher.encode(b"no image")
    np.testing.assert_allclose(np.stack(vectors), encoder(load_in="threads").encode(files), atol=1e-6)


def test_an_exchange_that_is_broken_off_gives_no_other_image_its_answer(
    files: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = encoder(num_workers=1)
    with monkeypatch.context() as patch:
        patch.setattr(pickle, "load", partial(_interrupt))
        with pytest.raises(KeyboardInterrupt):
            made.encode(files[0])
    np.testing.assert_array_equal(made.encode(files[1]), encoder(load_in="threads").encode(files[1]))


def _interrupt(_file: object) -> None:
    raise KeyboardInterrupt
