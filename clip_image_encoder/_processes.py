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
from typing import IO, Any, TypeAlias, TypeVar

from clip_image_encoder._forks import in_forks, never_destroy
from clip_image_encoder._interpreter import command_of
from clip_image_encoder._messages import in_one_line
from clip_image_encoder._to_pixels import ToPixels
from clip_image_encoder.arrays import Pixels
from clip_image_encoder.errors import ConfigurationError, ContractError, EncoderError, ImageError
from clip_image_encoder.images.encoded import EncodedImage
from clip_image_encoder.images.formats import check_format_names

__all__ = ["LoadingProcesses"]

# What a process answers: pixels, or an error and its cause; and the warnings of the loader with their places.
_Warned: TypeAlias = "tuple[str, type[Warning], str, int]"
_Answer: TypeAlias = "tuple[Pixels | tuple[EncoderError, BaseException | None], list[_Warned]]"

_Result = TypeVar("_Result")

_ENDED = (EOFError, OSError, pickle.UnpicklingError)
"""Errors of an exchange with a process that has ended."""

_LONGEST_WAIT = 1.0
"""Seconds that a process has to end when it has closed its pipe."""


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
            raise _not_sent(in_one_line(error)) from error
        self._begin()
        in_forks(self, LoadingProcesses._begin)
        self._lend(lambda _process: None)  # starts one now, for the errors that starting any of them would raise

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
        for message, category, filename, line in warned:
            warnings.warn_explicit(message, category, filename, line)
        if not isinstance(answer, tuple):
            return answer
        error, cause = answer
        try:
            raise error from cause
        finally:
            del error, cause, answer  # breaks a cycle: the error's traceback keeps this frame, and that the file

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
        try:
            self._popen = subprocess.Popen(  # noqa: S603 - this Python, our own function
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # One thread in each, for a preprocess that computes with torch: there is a process for each core.
                env={"OMP_NUM_THREADS": "1"} | os.environ,
                start_new_session=True,  # Ctrl-C in a terminal reaches all processes of a session; the first ends these
            )
        except OSError as error:
            raise ConfigurationError(f"no process can be started to load images in ({in_one_line(error)})") from error
        assert self._popen.stdin
        assert self._popen.stdout
        self._questions, self._answers = self._popen.stdin, self._popen.stdout
        self._finalizer = weakref.finalize(self, _end, self._popen, self._questions, self._answers)
        in_forks(self, _Process._leave_to_parent)
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
        try:
            self._questions.write(question)
            self._questions.flush()
            return pickle.load(self._answers)  # noqa: S301 - from our own process
        except BaseException as error:
            if isinstance(error, _ENDED):
                with suppress(subprocess.TimeoutExpired):
                    self._popen.wait(_LONGEST_WAIT)  # for a status of its own
            self._popen.kill()  # its answer would be taken for the next one's
            self._popen.wait()
            raise

    def _leave_to_parent(self) -> None:
        """Let go of the process in a fork, without a lock that a thread of the parent may have held."""
        self._finalizer.detach()
        never_destroy(self._popen)
        nothing = os.open(os.devnull, os.O_RDWR)
        for pipe in (self._questions, self._answers):
            os.dup2(nothing, pipe.fileno(), inheritable=False)
        os.close(nothing)


def _not_sent(why: str) -> ConfigurationError:
    return ConfigurationError(
        f"the loader or the preprocess can't be sent to other processes ({why}); "
        "define its class in a module, not in the script, or load in threads"
    )


def _end(popen: subprocess.Popen[bytes], questions: IO[bytes], answers: IO[bytes]) -> None:
    popen.kill()
    with suppress(OSError):  # the rest of a question that was broken off is written when its pipe is closed
        questions.close()
    answers.close()
    popen.wait()


def _serve() -> None:
    """Answer what standard input asks, until it ends: first a ToPixels is sent, then images."""
    # What a preprocess prints must not come between the answers.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows, which has no sessions
        questions = sys.stdin.buffer

        def answer(value: object) -> None:
            pickle.dump(value, answers, protocol=pickle.HIGHEST_PROTOCOL)
            answers.flush()

        try:
            to_pixels: ToPixels = pickle.load(questions)  # noqa: S301 - from our own parent
            check_format_names(to_pixels.loader.formats)  # the script may have registered one with its own Pillow
        except Exception as error:  # noqa: BLE001 - the parent raises it
            answer(in_one_line(error))
            return
        answer(None)
        with suppress(EOFError, BrokenPipeError, pickle.UnpicklingError):  # the parent has ended
            while True:
                image: EncodedImage = pickle.load(questions)  # noqa: S301 - from our own parent
                answer(_load(to_pixels, image))


def _load(to_pixels: ToPixels, image: EncodedImage) -> _Answer:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        loaded: Pixels | tuple[EncoderError, BaseException | None]
        try:
            loaded = to_pixels(image)
        except EncoderError as error:
            whole = error if _pickles(error) else ContractError(in_one_line(error))
            loaded = whole, _cause(error.__cause__)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            loaded = ContractError(f"the loader raised {in_one_line(error)}"), _cause(error)
    return loaded, [_warned(warning) for warning in caught]


def _cause(error: BaseException | None) -> BaseException | None:
    return error if _pickles(error) else RuntimeError(f"{type(error).__name__}: {error}")


def _warned(warning: warnings.WarningMessage) -> _Warned:
    category = warning.category if _pickles(warning.category) else UserWarning
    return str(warning.message), category, warning.filename, warning.lineno


def _pickles(value: object) -> bool:
    """Return whether a value can be pickled and unpickled: an exception, or a class, of another package may not."""
    try:
        pickle.loads(pickle.dumps(value))  # noqa: S301 - our own
    except Exception:  # noqa: BLE001 - whatever that class raises
        return False
    return True
