"""Run a job in a Python process of its own, so that the libraries that it uses change nothing in this process.

torch's exporter and NNCF patch modules, redirect output, silence warnings, reseed random generators and print. Other
threads of the application would see that, and two exports at once would break each other.
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

from clip_image_encoder._interpreter import command_of
from clip_image_encoder._messages import in_one_line
from clip_image_encoder.backends._telemetry import ONNX_RUNTIME_SWITCH
from clip_image_encoder.errors import BackendError, ConfigurationError, EncoderError

__all__ = ["run_apart"]

_logger = logging.getLogger(__name__)

_Result = TypeVar("_Result")

_JOB, _ANSWER, _LOG = "job", "answer", "log"


def run_apart(job: Callable[[], _Result], *, near: Path) -> _Result:
    """Call a function in a new Python process, and return what it returns.

    The process doesn't run the application's script again, and ends when this process ends.

    Args:
        job: Function of an importable module, or a `functools.partial` of one; it is pickled, as is its result.
        near: Existing folder for the temporary files that carry the job, its answer and its output.

    Raises:
        EncoderError: The job raised this error.
        BackendError: The job raised another exception, or the process was killed.
        ConfigurationError: There is no Python interpreter to start.
    """
    command = command_of(_answer)
    if command is None:
        raise ConfigurationError(
            "no Python interpreter was found to export the graph with; make the encoder once in Python, and start this "
            "program with the same HF_HOME"
        )
    with TemporaryDirectory(dir=near) as name:
        folder = Path(name)
        (folder / _JOB).write_bytes(pickle.dumps(job))
        with (
            (folder / _LOG).open("wb") as log,
            subprocess.Popen(  # noqa: S603 - this Python, our own module
                [*command, name],
                # The pipe closes when this process ends in any way, killed included; `_end_with_parent` waits for it.
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
            last = output.rpartition("\n")[2] or "no output"
            raise BackendError(
                f"the process that makes the graph ended with status {status}: {last}; its whole output is in the log "
                "at level DEBUG"
            )
        answer = pickle.loads((folder / _ANSWER).read_bytes())  # noqa: S301 - from our own process, in our own folder
    if isinstance(answer, EncoderError):
        raise answer
    result: _Result = answer
    return result


def _quiet_environment() -> dict[str, str]:
    """Return environment variables for a process without network access: its files are in the hub's cache already."""
    return {ONNX_RUNTIME_SWITCH: "1", "HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": constants.HF_HUB_CACHE}


def _answer() -> None:
    """Run the job of the folder that the command line names, and write its result or its error there."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    folder = Path(sys.argv[1])
    answer: object
    try:
        answer = pickle.loads((folder / _JOB).read_bytes())()  # noqa: S301 - from our own parent
    except EncoderError as error:
        answer = error
    except Exception as error:  # noqa: BLE001 - the parent process raises it
        traceback.print_exc()
        answer = BackendError(in_one_line(error))
    unfinished = folder / f"{_ANSWER}.unfinished"
    unfinished.write_bytes(pickle.dumps(answer))
    unfinished.rename(folder / _ANSWER)


def _end_with_parent() -> None:
    # Not sys.stdin.read: Python can't shut down while a thread holds that object's lock.
    os.read(0, 1)
    os._exit(1)
