"""A job over tar files, Parquet files or a list: killed ten times, it has every row once, the same as from a folder."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from clip_image_encoder import ImageEncoder
from clip_image_encoder.folder import embed_folder, embed_images
from clip_image_encoder.sources import open_source
from tests.units.kills import ends_of_kills
from tests.units.sources.conftest import Files, images, write_folder, write_parquet, write_tar

COUNT = 200


def tar_files(folder: Path, files: Files) -> tuple[str, Callable[[str], str]]:
    """Two shards of a WebDataset, in which each image has a text beside it."""
    names = list(files)
    for shard, part in enumerate((names[:120], names[120:])):
        members = {}
        for name in part:
            members[name] = files[name]
            members[f"{Path(name).stem}.txt"] = b"a text"
        write_tar(folder / f"shard-{shard:03d}.tar", members)
    return f"{folder}/shard-*.tar", lambda path: path.split("/")[1]


def parquet_file(folder: Path, files: Files) -> tuple[str, Callable[[str], str]]:
    names = list(files)
    return str(write_parquet(folder / "train.parquet", files)), lambda path: names[int(path.split("/")[1])]


def listed(folder: Path, files: Files) -> tuple[str, Callable[[str], str]]:
    write_folder(folder / "elsewhere", files)
    (folder / "list.txt").write_text("".join(f"elsewhere/{name}\n" for name in files))
    return str(folder / "list.txt"), lambda path: path.removeprefix("elsewhere/")


@pytest.fixture(scope="module")
def files() -> Files:
    return images(COUNT)


@pytest.fixture(scope="module")
def of_a_folder(files: Files, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The table of the same images in a folder, from a run that nobody has killed."""
    from clip_image_encoder.testing import ToyBackend

    folder = tmp_path_factory.mktemp("folder")
    root = write_folder(folder / "images", files)
    embed_folder(root, folder / "vectors.parquet", ImageEncoder(backend=ToyBackend()), batch_size=4)
    return pq.read_table(folder / "vectors.parquet").sort_by("path")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has neither fork nor SIGKILL")
@pytest.mark.parametrize("write", [tar_files, parquet_file, listed])
def test_killed_ten_times_every_row_is_there_once_and_the_same_as_from_a_folder(
    write: Callable[[Path, Files], tuple[str, Callable[[str], str]]],
    files: Files,
    of_a_folder: Any,
    encoder: ImageEncoder,
    tmp_path: Path,
) -> None:
    place, name_of = write(tmp_path, files)
    destination = tmp_path / "vectors.parquet"
    ends = ends_of_kills(
        "embed_images(open_source(images), destination, encoder, batch_size=4, rows_per_file=8)",
        place,
        str(destination),
    )
    assert ends == ["-9"] * 10
    assert 0 < pq.read_table(destination).num_rows < COUNT
    embed_images(open_source(place), destination, encoder, batch_size=4)

    table = pq.read_table(destination)
    names = [name_of(path) for path in table["path"].to_pylist()]
    order = pc.sort_indices(np.array(names))
    assert [names[place] for place in order.to_pylist()] == of_a_folder["path"].to_pylist()
    table = table.take(order)
    for column in ("status", "error"):
        assert table[column].equals(of_a_folder[column])
    assert bits(table).tobytes() == bits(of_a_folder).tobytes()
    assert not list(destination.glob(".*"))


def bits(table: Any) -> np.ndarray[Any, Any]:
    return np.stack(table["embedding"].to_numpy(zero_copy_only=False))
