"""Work in a process of its own: what comes back, and what doesn't come out."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from clip_image_encoder.backends import _graph_runs
from clip_image_encoder.backends._apart import run_apart
from clip_image_encoder.errors import BackendError, CheckpointError, ConfigurationError, MissingExtraError


def code(program: str) -> Callable[[], None]:
    """Return a job that runs a program, and can be pickled."""
    return partial(exec, program)


def test_what_it_returns_comes_back(tmp_path: Path) -> None:
    assert run_apart(partial(divmod, 7, 2), near=tmp_path) == (3, 1)


def test_it_is_another_process(tmp_path: Path) -> None:
    assert run_apart(os.getpid, near=tmp_path) != os.getpid()


def test_modules_are_found_where_this_process_finds_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "of_the_application.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    run_apart(code("import of_the_application"), near=tmp_path)


def test_what_it_prints_and_warns_of_stays_there(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run_apart(code("import os, warnings; print('out'); warnings.warn('w'); os.system('echo shell >&2')"), near=tmp_path)
    assert capfd.readouterr() == ("", "")


def test_our_errors_come_back_as_they_are(tmp_path: Path) -> None:
    job = code("from clip_image_encoder.errors import CheckpointError; raise CheckpointError('no weights')")
    with pytest.raises(CheckpointError, match=r"^no weights$"):
        run_apart(job, near=tmp_path)


def test_any_other_error_is_a_backend_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="ZeroDivisionError: "):
        run_apart(partial(divmod, 1, 0), near=tmp_path)


def test_a_process_that_is_killed_is_a_backend_error_with_its_last_words(tmp_path: Path) -> None:
    job = code("import os, signal; print('too much', flush=True); os.kill(os.getpid(), signal.SIGTERM)")
    with pytest.raises(BackendError, match=r"ended with status -15: too much"):
        run_apart(job, near=tmp_path)


def test_it_reads_the_same_cache_of_the_hub_and_asks_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "somewhere")
    job = partial(subprocess.getoutput, "echo $HF_HUB_CACHE $HF_HUB_OFFLINE $ORT_DISABLE_TELEMETRY")
    assert run_apart(job, near=tmp_path) == "somewhere 1 1"


def test_nothing_is_left_beside_the_result(tmp_path: Path) -> None:
    run_apart(os.getpid, near=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_ends_when_the_process_that_waits_for_it_is_killed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "alive")
    pipe = str(tmp_path / "alive")
    job = f"import os, time; os.write(os.open({pipe!r}, os.O_WRONLY), b'.'); time.sleep(600)"
    program = (
        "from functools import partial\n"
        "from pathlib import Path\n"
        "from clip_image_encoder.backends._apart import run_apart\n"
        f"run_apart(partial(exec, {job!r}), near=Path({str(tmp_path)!r}))\n"
    )
    with subprocess.Popen([sys.executable, "-c", program]) as parent, Path(pipe).open("rb") as alive:
        assert alive.read(1) == b"."
        parent.kill()
        assert alive.read() == b""  # which comes when no process has the other end any more


def test_where_python_is_embedded_its_own_interpreter_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/usr/bin/env")
    assert run_apart(partial(divmod, 7, 2), near=tmp_path) == (3, 1)


def test_a_frozen_program_is_told_to_make_the_graph_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "frozen", True, raising=False)
    with pytest.raises(ConfigurationError, match=r"no Python interpreter.*HF_HOME"):
        run_apart(os.getpid, near=tmp_path)


@pytest.mark.parametrize(("package", "besides"), [("onnxscript", ""), ("torch", "torch ")])
def test_what_exports_and_is_not_installed_comes_with_the_line_that_installs_it(
    package: str, besides: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_graph_runs, "find_spec", lambda name: None if name == package else name)
    with pytest.raises(MissingExtraError, match=rf"python -m pip install {besides}'clip-image-encoder\[export\]'"):
        _graph_runs.check_can_export()
