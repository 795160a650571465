"""Several jobs with one destination: one works, the others are refused by a sentence, and no row is there twice."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from clip_image_encoder import ConfigurationError, ImageEncoder
from clip_image_encoder._folder_lock import lock_folder
from clip_image_encoder.folder import FolderSummary, embed_folder
from clip_image_encoder.testing import ToyBackend

Gallery = Callable[[int], Path]

posix = pytest.mark.skipif(sys.platform == "win32", reason="it forks, or is about POSIX's locks")

# A job whose model waits at its second batch until it is told to go on.
_WAITING = """
import sys
from pathlib import Path
from clip_image_encoder import ImageEncoder
from clip_image_encoder._fingerprint import describe_component
from clip_image_encoder.folder import embed_folder
from clip_image_encoder.testing import ToyBackend

class Waits(ToyBackend):
    fingerprint = describe_component(ToyBackend())  # of the same vectors
    batches = 0
    def __call__(self, *arguments, **settings):
        Waits.batches += 1
        if Waits.batches == 2:
            print("half done", flush=True)
            sys.stdin.readline()
        return super().__call__(*arguments, **settings)

print(embed_folder(sys.argv[1], sys.argv[2], ImageEncoder(backend=Waits()), batch_size=4, rows_per_file=4))
"""

# Twelve jobs that begin at the same moment, each a process.
_TWELVE = """
import json, os, sys
from clip_image_encoder import EncoderError, ImageEncoder
from clip_image_encoder.folder import embed_folder
from clip_image_encoder.testing import ToyBackend

encoder = ImageEncoder(backend=ToyBackend())
ready, go = os.pipe()
children = []
for _ in range(12):
    child = os.fork()
    if child == 0:
        os.close(go)
        os.read(ready, 1)  # ends when the parent closes its side
        try:
            embed_folder(sys.argv[1], sys.argv[2], encoder, batch_size=4, rows_per_file=4)
        except EncoderError as error:
            os.write(1, f"{error}\\n".encode())
            os._exit(3)
        except BaseException as error:
            os.write(1, f"{error!r}\\n".encode())
            os._exit(4)
        os._exit(0)
    children.append(child)
os.close(go)
print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]))
"""


@pytest.fixture
def encoder() -> ImageEncoder:
    return ImageEncoder(backend=ToyBackend())


def paths_in(destination: Path) -> list[str]:
    paths: list[str] = pq.read_table(destination)["path"].to_pylist()
    return sorted(paths)


@contextmanager
def half_done_job(root: Path, destination: Path) -> Iterator[subprocess.Popen[str]]:
    """A job in another process that has written some rows, and waits for a line."""
    command = [sys.executable, "-c", _WAITING, str(root), str(destination)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as job:
        try:
            assert job.stdout is not None
            assert job.stdout.readline() == "half done\n"
            yield job
        finally:
            job.kill()


def test_a_second_job_is_refused_until_the_first_has_ended(
    gallery: Gallery, encoder: ImageEncoder, tmp_path: Path
) -> None:
    root, destination = gallery(12), tmp_path / "vectors.parquet"
    with half_done_job(root, destination) as job:
        Image.new("RGB", (9, 9)).save(root / "added meanwhile.png")
        with pytest.raises(ConfigurationError, match=r"another job writes to .*vectors\.parquet"):
            embed_folder(root, destination, encoder)
        said, _ = job.communicate("go on\n")
        assert said == "FolderSummary(embedded=12, failed=0, skipped=0, left_out={})\n"
    assert embed_folder(root, destination, encoder) == FolderSummary(embedded=1, failed=0, skipped=12)
    assert len(paths_in(destination)) == len(set(paths_in(destination))) == 13


def test_a_killed_job_locks_nobody_out(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    root, destination = gallery(12), tmp_path / "vectors.parquet"
    with half_done_job(root, destination) as job:
        job.kill()
        job.wait()
    embed_folder(root, destination, encoder)
    assert len(paths_in(destination)) == len(set(paths_in(destination))) == 12


@posix
def test_of_twelve_jobs_at_once_each_ends_well_or_is_refused(gallery: Gallery, tmp_path: Path) -> None:
    root, destination = gallery(40), tmp_path / "vectors.parquet"
    jobs = [sys.executable, "-c", _TWELVE, str(root), str(destination)]
    *refusals, ends = subprocess.run(jobs, capture_output=True, text=True, check=True).stdout.splitlines()
    assert refusals == [refusal for refusal in refusals if "another job writes to" in refusal]
    assert set(json.loads(ends)) <= {0, 3}
    assert 0 in json.loads(ends)
    assert len(paths_in(destination)) == len(set(paths_in(destination))) == 40


@posix
def test_a_lock_that_the_job_before_has_just_removed_is_taken_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    lock = fcntl.flock

    def end_of_the_job_before(descriptor: int, operation: int) -> None:
        monkeypatch.setattr(fcntl, "flock", lock)
        (tmp_path / ".lock").unlink()  # what was opened a moment ago is a file that nobody else will find
        lock(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", end_of_the_job_before)
    with (
        lock_folder(tmp_path),
        pytest.raises(ConfigurationError, match="another job"),
        lock_folder(tmp_path),
    ):
        pass


def test_a_folder_that_the_job_before_is_removing_is_still_that_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "unfinished"
    opened = os.open

    def end_of_the_job_before(path: Any, *settings: Any) -> int:
        folder.rmdir()
        return opened(path, *settings)

    monkeypatch.setattr(os, "open", end_of_the_job_before)
    with pytest.raises(ConfigurationError, match="another job writes to"), lock_folder(folder):
        pass


def test_nothing_is_left_of_the_lock(gallery: Gallery, encoder: ImageEncoder, tmp_path: Path) -> None:
    embed_folder(gallery(3), tmp_path / "vectors.parquet", encoder)
    names = [file.name for file in (tmp_path / "vectors.parquet").iterdir() if file.suffix != ".parquet"]
    assert names == []


@posix
def test_a_disk_without_locks_is_used_with_a_warning(
    gallery: Gallery, encoder: ImageEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: Any) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    with pytest.warns(UserWarning, match="has no file locks"):
        assert embed_folder(gallery(3), tmp_path / "vectors.parquet", encoder).embedded == 3
