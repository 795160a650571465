"""Work in a process of its own, which leaves nothing behind in this one.

torch's exporter and NNCF patch modules, redirect output, silence warnings, reseed generators and print. Other threads
of the application would see all of that, and two exports at once break each other.
"""

from __future__ import annotations

import logging
import os
import pickle
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from huggingface_hub import constants

from clip_image_encoder._messages import first_line
from clip_image_encoder.backends._telemetry import ONNX_RUNTIME_SWITCH
from clip_image_encoder.errors import BackendError, ConfigurationError, EncoderError

__all__ = ["run_apart"]

_logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_JOB, _ANSWER, _LOG = "job", "answer", "log"


def run_apart(job: Callable[[], _Result], *, near: Path) -> _Result:
    """Call a function in a new Python process, and return what it returns or raise what it raises.

    The process doesn't run the application's script again, and ends when this one does.

    Args:
        job: a function of an importable module, or a `functools.partial` of one; it is pickled, as is its result.
        near: an existing folder, in which the job, its answer and its output lie meanwhile.

    Raises:
        EncoderError: the job raised it.
        BackendError: the job raised something else, or the process was ended from outside.
        ConfigurationError: there is no Python interpreter to start.
    """
    program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import _answer; _answer()"
    with TemporaryDirectory(dir=near) as name:
        folder = Path(name)
        (folder / _JOB).write_bytes(pickle.dumps(job))
        with (
            (folder / _LOG).open("wb") as log,
            subprocess.Popen(  # noqa: S603 - this Python, our own module
                [_interpreter(), "-W", "ignore", "-c", program, name],
                # Closed when this process ends, however it does; the other one waits for that.
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | _quiet_environment(),
            ) as process,
        ):
            status = process.wait()
        output = (folder / _LOG).read_text(errors="replace").strip()
        _logger.debug("%s", output)
        if not (folder / _ANSWER).is_file():
            last = output.rpartition("\n")[2] or "it said nothing"
            raise BackendError(f"a process that made a graph ended with status {status}: {last}")
        answer = pickle.loads((folder / _ANSWER).read_bytes())  # noqa: S301 - from our own process, in our own folder
    if isinstance(answer, EncoderError):
        raise answer
    result: _Result = answer
    return result


def _quiet_environment() -> dict[str, str]:
    """Return variables by which the process asks nobody: what it needs of the hub lies in the cache already."""
    return {ONNX_RUNTIME_SWITCH: "1", "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": constants.HF_HUB_CACHE}


def _interpreter() -> str:
    """Return the path of this Python's interpreter."""
    # Where Python is embedded, as in uWSGI, sys.executable is that program.
    for path in map(Path, (sys.executable or "", f"{sys.prefix}/bin/python3", f"{sys.prefix}/python.exe")):
        if path.name.lower().startswith(("python", "pypy")) and path.is_file() and not getattr(sys, "frozen", False):
            return str(path)
    raise ConfigurationError(
        "there is no Python interpreter beside this program to export the graph with; "
        "make the encoder once in Python, and set HF_HOME here as it was there"
    )


def _answer() -> None:
    """Do the job in the folder that the command line names, and write the answer into it."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = Path(sys.argv[1])
    answer: object
    try:
        answer = pickle.loads((folder / _JOB).read_bytes())()  # noqa: S301 - from our own parent
    except EncoderError as error:
        answer = error
    except Exception as error:  # noqa: BLE001 - handed to the parent, which raises it
        traceback.print_exc()
        answer = BackendError(f"{type(error).__name__}: {first_line(error)}")
    unfinished = folder / f"{_ANSWER}.unfinished"
    unfinished.write_bytes(pickle.dumps(answer))
    unfinished.rename(folder / _ANSWER)


def _end_with_parent() -> None:
    # Not sys.stdin: a thread that holds its lock lets Python's end fail.
    os.read(0, 1)
    os._exit(1)
