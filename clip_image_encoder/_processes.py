"""Python processes that load images, each for one thread at a time of the process that encodes.

```text
thread ─content of a file─▶ process ─ToPixels─▶ pixels or an error ─▶ thread
```

Python runs Python code on one thread at a time, and loading has some of it. A thread that waits for a process has next
to none. The processes don't run the application's script again, and end with the process that started them.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import warnings
import weakref
from collections.abc import Callable
from contextlib import suppress
from queue import LifoQueue
from typing import Any, TypeAlias, TypeVar

from clip_image_encoder._forks import in_forks
from clip_image_encoder._interpreter import command_of
from clip_image_encoder._messages import first_line
from clip_image_encoder._to_pixels import ToPixels
from clip_image_encoder.arrays import Pixels
from clip_image_encoder.errors import ConfigurationError, ContractError, EncoderError, ImageError
from clip_image_encoder.images.encoded import EncodedImage

__all__ = ["LoadingProcesses"]

# What a process answers: pixels, or an error and its cause; and the warnings of the loader.
_Answer: TypeAlias = "tuple[Pixels | tuple[EncoderError, BaseException | None], list[tuple[str, type[Warning]]]]"

_Result = TypeVar("_Result")


class LoadingProcesses:
    """Turns inputs into pixels in processes, which are started as they are needed and end with this object.

    Files are read by the thread that calls, and decoded by its process. PIL images and arrays are loaded by the thread.

    Args:
        to_pixels: What a process does with the content of a file; it is pickled.
        most: Largest number of processes; a thread that finds all of them busy waits for one.

    Raises:
        ConfigurationError: The loader or the preprocess can't be sent to a process, or there is no Python to start.
    """

    def __init__(self, to_pixels: ToPixels, most: int) -> None:
        self._to_pixels, self._most = to_pixels, most
        try:
            self._pickled = pickle.dumps(to_pixels)
        except Exception as error:
            raise _not_sent(_told(error)) from error
        self._begin()
        in_forks(self, LoadingProcesses._begin)
        self._lend(bool)  # starts one, for the errors that all would raise

    def __call__(self, item: object, /) -> Pixels:
        """Return the pixels of an input.

        Raises:
            ImageError: The input can't be loaded, or the process that loaded it has ended.
            ContractError: The preprocess raised another error, or returned what the backend does not take.
        """
        read = self._to_pixels.loader.read(item)
        if not isinstance(read, EncodedImage):
            return self._to_pixels(read)
        answer, warned = self._lend(lambda process: process.ask(read))
        for message, category in warned:
            warnings.warn(message, category, stacklevel=2)
        if isinstance(answer, tuple):
            error, cause = answer
            raise error from cause
        return answer

    def __reduce__(self) -> tuple[Callable[..., LoadingProcesses], tuple[ToPixels, int]]:
        return LoadingProcesses, (self._to_pixels, self._most)

    def _begin(self) -> None:
        # A fork begins anew: its parent's processes answer to the parent, and one may be lent at that moment. The last
        # in is the first out, so that none is started while another is idle.
        self._idle: LifoQueue[_Process | None] = LifoQueue()
        for _ in range(self._most):
            self._idle.put(None)

    def _lend(self, use: Callable[[_Process], _Result]) -> _Result:
        """Call a function with a process that no other thread uses; one that has ended is replaced."""
        process = self._idle.get()
        try:
            if process is None or process.has_ended:
                process = _Process(self._pickled)
            return use(process)
        finally:
            self._idle.put(process)


class _Process:
    """One process, which ends when this object is freed.

    Args:
        pickled: Pickled ToPixels.

    Raises:
        ConfigurationError: The process can't be started, or can't unpickle it.
    """

    def __init__(self, pickled: bytes) -> None:
        command = command_of(_serve)
        if command is None:
            raise ConfigurationError("no Python interpreter was found to start processes with; load in threads")
        self._popen = subprocess.Popen(  # noqa: S603 - this Python, our own function
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # One thread in each, for a preprocess that computes with torch or OpenCV: there is a process for each core.
            env={"OMP_NUM_THREADS": "1"} | os.environ,
        )
        weakref.finalize(self, _end, self._popen)
        try:
            why = self._exchange(pickled)
        except _ENDED as error:
            raise ConfigurationError(f"a loading process ended with status {self._popen.returncode}") from error
        if why is not None:
            raise _not_sent(why)

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, as by an image that crashed its decoder."""
        return self._popen.poll() is not None

    def ask(self, image: EncodedImage) -> _Answer:
        """Have an image loaded.

        Raises:
            ImageError: The process ended instead of answering.
        """
        try:
            answer: _Answer = self._exchange(pickle.dumps(image))
        except _ENDED as error:
            status = self._popen.returncode
            raise ImageError(f"the process that loaded it ended with status {status}", source=image.source) from error
        return answer

    def _exchange(self, question: bytes) -> Any:
        assert self._popen.stdin
        assert self._popen.stdout
        try:
            self._popen.stdin.write(question)
            self._popen.stdin.flush()
            return pickle.load(self._popen.stdout)  # noqa: S301 - from our own process
        except BaseException:
            self._popen.kill()  # its answer would be taken for the next one's
            self._popen.wait()
            raise


_ENDED = (EOFError, OSError, pickle.UnpicklingError)
"""Errors of an exchange with a process that has ended."""


def _not_sent(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the loader or the preprocess can't be sent to other processes ({why}); "
        "define its class in a module, not in the script, or load in threads"
    )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)}"


def _end(popen: subprocess.Popen[bytes]) -> None:
    """End a process; in a fork, whose parent's process it is, close the pipes alone."""
    assert popen.stdin
    assert popen.stdout
    popen.kill()
    with suppress(BrokenPipeError):  # the rest of a question that was broken off is written when its pipe is closed
        popen.stdin.close()
    popen.stdout.close()
    popen.wait()


def _serve() -> None:
    """Answer what standard input asks, until it ends: first a ToPixels is sent, then images."""
    # What a preprocess prints must not come between the answers.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal reaches all processes; the first ends us
        questions = sys.stdin.buffer

        def answer(value: object) -> None:
            pickle.dump(value, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()

        try:
            to_pixels: ToPixels = pickle.load(questions)  # noqa: S301 - from our own parent
        except Exception as error:  # noqa: BLE001 - the parent raises it
            answer(_told(error))
            return
        answer(None)
        while True:
            try:
                image: EncodedImage = pickle.load(questions)  # noqa: S301 - from our own parent
            except EOFError:
                return
            answer(_load(to_pixels, image))


def _load(to_pixels: ToPixels, image: EncodedImage) -> _Answer:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded: Pixels | tuple[EncoderError, BaseException | None]
        try:
            loaded = to_pixels(image)
        except EncoderError as error:
            loaded = error, _that_pickles(error.__cause__)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            loaded = ContractError(f"the loader raised {_told(error)}"), _that_pickles(error)
    return loaded, [(str(warning.message), warning.category) for warning in caught]


def _that_pickles(cause: BaseException | None) -> BaseException | None:
    """Return an exception, or one that says the same, if exceptions of its class can't be pickled."""
    try:
        copy: BaseException | None = pickle.loads(pickle.dumps(cause))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever a class of another package raises
        return RuntimeError(f"{type(cause).__name__}: {cause}")
    return copy
