"""The job on Ray against the same job in one process, with damaged files, lost actors and interruptions."""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
import ray
from PIL import Image
from ray.data import ActorPoolStrategy

from clip_image_encoder import ConfigurationError, ImageEncoder, ImageInput, ImageLoader, TextEncoder, folder
from clip_image_encoder.folder import FolderSummary, embed_folder
from clip_image_encoder.integrations.ray import EmbedImages, embed_images
from clip_image_encoder.parquet import EmbeddingFiles
from clip_image_encoder.sources import ImageSource, ListedImages, ParquetImages, Selection, TarImages
from clip_image_encoder.tiny_shapes.draw import Scene, draw
from tests.programs.benchmarks.checkpoint import BUNDLED

COUNT, DAMAGED = 2000, 20


@pytest.fixture(scope="module", autouse=True)
def _cluster() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, object_store_memory=300_000_000, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two thousand images, of which each hundredth is damaged."""
    root = tmp_path_factory.mktemp("gallery")
    generator = np.random.default_rng(0)
    for number in range(COUNT):
        file = root / f"{number:04d}.png"
        if number % (COUNT // DAMAGED) == 7:
            file.write_bytes(b"\x89PNG\r\n\x1a\n cut short")
        else:
            Image.fromarray(generator.integers(0, 256, (24, 32, 3), dtype=np.uint8)).save(file)
    return root


@pytest.fixture(scope="module")
def once(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The table of an uninterrupted run."""
    destination = tmp_path_factory.mktemp("once") / "vectors.parquet"
    embed_images(str(gallery), str(destination), encoder="tiny-shapes", rows_per_file=128)
    return table_of(destination)


def table_of(destination: Path) -> Any:
    return pq.read_table(destination).sort_by("path")


def times_of(destination: Path) -> dict[Path, int]:
    return {file: file.stat().st_mtime_ns for file in destination.iterdir()}


def names_of(folder: Path) -> list[str]:
    return sorted(file.name for file in folder.iterdir())


def link(names: list[str], *, of: Path, into: Path) -> Path:
    """Put some images of a folder into another."""
    into.mkdir(exist_ok=True)
    for name in names:
        (into / name).hardlink_to(of / name)
    return into


def tasks_since(start: float, *, name: str) -> set[str]:
    """Return the names of tasks, once Ray, which collects them from time to time, tells of one of that name."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        names = {event["name"] for event in ray.timeline() if event["ts"] >= start * 1e6}
        if name in names:
            return names
        time.sleep(0.1)
    raise AssertionError(f"Ray tells of no {name}, but of {names}")


def vectors_of(table: Any) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.stack(table["embedding"].to_numpy(zero_copy_only=False))


def test_every_image_has_the_vector_of_one_process(gallery: Path, once: Any) -> None:
    assert once["path"].to_pylist() == names_of(gallery)
    encoder = ImageEncoder("tiny-shapes", device="cpu")
    with pytest.warns(UserWarning, match=f"{DAMAGED} of the images"):
        expected = encoder.encode(sorted(gallery.iterdir()), on_error="nan")
    np.testing.assert_allclose(vectors_of(once), expected, atol=1e-5)


def test_every_damaged_file_is_listed_with_its_reason(once: Any) -> None:
    failed = once.filter(pc.equal(once["status"], "failed"))
    assert failed.num_rows == DAMAGED
    assert all("damaged" in error for error in failed["error"].to_pylist())
    assert once["error"].null_count == COUNT - DAMAGED


@pytest.mark.parametrize("name", ["batch_size", "rows_per_file", "concurrency", "num_gpus", "num_cpus"])
@pytest.mark.parametrize("wrong", [-1, True, "5", float("nan")])
def test_a_wrong_number_is_refused_before_anything_is_done(tmp_path: Path, name: str, wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name} must be"):
        embed_images(tmp_path, tmp_path / "vectors.parquet", encoder="tiny-shapes", **{name: wrong})
    assert not any(tmp_path.iterdir())


def test_an_actors_batch_size_is_a_positive_integer() -> None:
    with pytest.raises(ConfigurationError, match="batch_size must be a positive integer"):
        EmbedImages("tiny-shapes", batch_size=2.5)  # type: ignore[arg-type]  # as a user might try


def test_a_second_run_does_nothing(gallery: Path, tmp_path: Path) -> None:
    few = link(names_of(gallery)[:40], of=gallery, into=tmp_path / "few")
    source = ray.data.from_items([{"path": str(path)} for path in few.iterdir()])
    for number, pictures in enumerate((f"local://{few}", source)):
        destination = tmp_path / f"{number}.parquet"
        embed_images(pictures, str(destination), encoder="tiny-shapes")
        before = times_of(destination)
        assert table_of(destination).num_rows == 40
        embed_images(pictures, str(destination), encoder="tiny-shapes")
        assert times_of(destination) == before


def test_a_run_that_was_stopped_half_way_is_resumed(gallery: Path, once: Any, tmp_path: Path) -> None:
    names, destination = names_of(gallery), tmp_path / "vectors.parquet"
    folder = link(names[: COUNT // 2], of=gallery, into=tmp_path / "folder")
    embed_images(str(folder), str(destination), encoder="tiny-shapes")
    assert table_of(destination).num_rows == COUNT // 2
    link(names[COUNT // 2 :], of=gallery, into=folder)
    embed_images(str(folder), str(destination), encoder="tiny-shapes")
    resumed = table_of(destination)
    assert resumed.drop_columns("embedding").equals(once.drop_columns("embedding"))
    np.testing.assert_allclose(vectors_of(resumed), vectors_of(once), atol=1e-5)


def test_what_one_machine_has_begun_is_finished_on_ray(gallery: Path, once: Any, tmp_path: Path) -> None:
    names, destination = names_of(gallery)[:200], tmp_path / "vectors.parquet"
    folder = link(names[:90], of=gallery, into=tmp_path / "folder")
    embed_folder(folder, destination, ImageEncoder("tiny-shapes", device="cpu"))
    before = times_of(destination)
    link(names[90:], of=gallery, into=folder)
    embed_images(str(folder), str(destination), encoder="tiny-shapes")
    assert before.items() <= times_of(destination).items()
    both = table_of(destination)
    assert both.drop_columns("embedding").equals(once.slice(0, 200).drop_columns("embedding"))
    np.testing.assert_allclose(vectors_of(both), vectors_of(once)[:200], atol=1e-5)


def test_paths_are_those_of_the_caller_and_not_of_the_workers(
    gallery: Path, once: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link(names_of(gallery)[:3], of=gallery, into=tmp_path / "folder")
    shutil.copytree(BUNDLED, tmp_path / "model")
    monkeypatch.chdir(tmp_path)  # Ray has started elsewhere
    embed_images("folder", Path("vectors.parquet"), encoder="model")
    np.testing.assert_allclose(vectors_of(table_of(tmp_path / "vectors.parquet")), vectors_of(once)[:3], atol=1e-5)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no file names that are no text")
def test_a_name_that_is_no_text_does_not_stop_the_others(gallery: Path, tmp_path: Path) -> None:
    folder = link(names_of(gallery)[:3], of=gallery, into=tmp_path / "folder")
    (folder / os.fsdecode(b"\xff.png")).write_bytes(b"")
    embed_images(str(folder), str(tmp_path / "vectors.parquet"), encoder="tiny-shapes")
    table = table_of(tmp_path / "vectors.parquet")
    assert dict(zip(table["path"].to_pylist(), table["status"].to_pylist(), strict=True)) == {
        **dict.fromkeys(names_of(gallery)[:3], "ok"),
        "\\xff.png": "failed",
    }


@pytest.fixture
def sources(gallery: Path, tmp_path: Path) -> dict[str, ImageSource]:
    """Forty images in two tar files, in two Parquet files and in a list."""
    files = {name: (gallery / name).read_bytes() for name in names_of(gallery)[:40]}
    for part, names in enumerate((list(files)[:30], list(files)[30:])):
        content = [files[name] for name in names]
        pq.write_table(pa.table({"image": content, "name": names}), tmp_path / f"{part}.parquet", row_group_size=8)
        with tarfile.open(tmp_path / f"{part}.tar", "w") as tar:
            for name in names:
                tar.add(gallery / name, name)
                tar.addfile(tarfile.TarInfo(f"{name}.txt"))
    (tmp_path / "list.csv").write_text("path\n" + "".join(f"{gallery}/{name}\n" for name in files))
    return {
        "tar": TarImages(tmp_path),
        "parquet": ParquetImages(tmp_path, name_column="name"),
        "list": ListedImages(tmp_path / "list.csv"),
    }


@pytest.mark.parametrize("kind", ["tar", "parquet", "list"])
@pytest.mark.filterwarnings("ignore:files that are not images are left out")
def test_another_source_is_begun_on_one_machine_and_finished_on_ray(
    kind: str, sources: dict[str, ImageSource], once: Any, tmp_path: Path
) -> None:
    source, destination = sources[kind], tmp_path / "vectors.parquet"
    embed_images(first_of(source, 10), destination, encoder="tiny-shapes", rows_per_file=8)
    assert table_of(destination).num_rows == 10
    before = times_of(destination)
    embed_images(source, destination, encoder="tiny-shapes", rows_per_file=8)
    assert before.items() <= times_of(destination).items()
    table = table_of(destination)
    assert [Path(path).name for path in table["path"].to_pylist()] == once["path"].to_pylist()[:40]
    for column in ("status", "error"):
        assert table[column].equals(once[column].slice(0, 40))
    np.testing.assert_allclose(vectors_of(table), vectors_of(once)[:40], atol=1e-5)
    before = times_of(destination)
    embed_images(source, destination, encoder="tiny-shapes", rows_per_file=8)
    assert times_of(destination) == before
    assert embed_on_one_machine(source, destination).skipped == 40


def test_what_is_no_image_in_a_source_is_counted_in_one_warning(
    sources: dict[str, ImageSource], tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match=r"files that are not images are left out: 40 \.txt"):
        embed_images(sources["tar"], tmp_path / "vectors.parquet", encoder="tiny-shapes")


def first_of(source: ImageSource, count: int) -> ImageSource:
    """Return a source of the first images of another."""

    class First:
        def images(self, selection: Selection, /) -> Iterator[tuple[str, ImageInput]]:
            every = dict(source.images(Selection(selection.loader)))
            return (item for item in list(every.items())[:count] if selection.takes(item[0]))

        def parts(self) -> list[ImageSource]:
            return [self]

    return First()


def embed_on_one_machine(source: ImageSource, destination: Path) -> FolderSummary:
    return folder.embed_images(source, destination, ImageEncoder("tiny-shapes", device="cpu"))


def test_a_job_runs_in_its_actors_and_nowhere_else(gallery: Path, tmp_path: Path) -> None:
    # Tasks that write, of which Ray starts as many as there are tables: 64 actors had 253 of them, and no memory left.
    few, start = link(names_of(gallery)[:40], of=gallery, into=tmp_path / "few"), time.time()
    embed_images(few, tmp_path / "vectors.parquet", encoder="tiny-shapes", num_cpus=1, concurrency=2, rows_per_file=4)
    assert len(list((tmp_path / "vectors.parquet").iterdir())) == 8 + 1  # of five rows each; one image is damaged
    # "submit" is a call of an actor, "_map_task" what Ray starts on any other process.
    assert not [name for name in tasks_since(start, name="submit") if name.endswith("._map_task")]


@pytest.mark.parametrize("name", ["missing", "file"])
def test_what_is_no_folder_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="not a folder"):
        embed_images(str(tmp_path / name), str(tmp_path / "vectors.parquet"), encoder="tiny-shapes")


def test_while_a_job_writes_another_one_is_refused(gallery: Path, tmp_path: Path) -> None:
    with (
        EmbeddingFiles.at(tmp_path / "vectors.parquet").locked(),
        pytest.raises(ConfigurationError, match="another job writes to"),
    ):
        embed_images(str(gallery), str(tmp_path / "vectors.parquet"), encoder="tiny-shapes")


@pytest.mark.parametrize("scheme", ["", "local://"])
def test_files_that_do_not_end_as_images_are_counted_in_one_warning(scheme: str, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("a.xcf", "deep/b.xcf", "notes.txt", ".hidden"):
        (tmp_path / name).write_bytes(b"")
    with pytest.warns(UserWarning, match=r"3 files .*: 2 \.xcf, 1 \.txt") as warned:
        embed_images(f"{scheme}{tmp_path}", str(tmp_path / "vectors.parquet"), encoder="tiny-shapes")
    assert len([one for one in warned if "left out" in str(one.message)]) == 1


def test_vectors_of_another_encoder_are_not_mixed_in(gallery: Path, tmp_path: Path) -> None:
    source = ray.data.from_items([{"path": str(next(gallery.iterdir()))}])
    embed_images(source, str(tmp_path / "vectors.parquet"), encoder="tiny-shapes")
    with pytest.raises(ConfigurationError, match="another encoder"):
        embed_images(
            source, str(tmp_path / "vectors.parquet"), encoder="tiny-shapes", loader=ImageLoader(background=(0, 0, 0))
        )


def test_images_of_an_exported_folder_are_found_by_words(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for color in ("red", "green", "blue"):
        draw(Scene(color=color, shape="star")).save(tmp_path / "folder" / f"{color}.png")
    embed_images(tmp_path / "folder", tmp_path / "vectors.parquet", encoder=exported)
    table = table_of(tmp_path / "vectors.parquet")
    scores = vectors_of(table) @ TextEncoder(exported).encode("a green star")
    assert table["path"][int(scores.argmax())].as_py() == "green.png"


def test_an_actor_that_finds_other_weights_than_the_job_began_with_does_not_start() -> None:
    EmbedImages("tiny-shapes", fingerprint=ImageEncoder("tiny-shapes").fingerprint)
    with pytest.raises(ConfigurationError, match="other weights than when the job began"):
        EmbedImages("tiny-shapes", fingerprint="of other weights")


def test_the_settings_of_an_encoder_travel_to_the_actors(gallery: Path, tmp_path: Path) -> None:
    few = link(names_of(gallery)[:5], of=gallery, into=tmp_path / "few")
    encoder = ImageEncoder("tiny-shapes", device="cpu", loader=ImageLoader(background=(0, 0, 0)), num_workers=1)
    embed_images(few, tmp_path / "vectors.parquet", encoder, batch_size=2)
    table = table_of(tmp_path / "vectors.parquet")
    assert table.schema.metadata[b"clip_image_encoder.fingerprint"].decode() == encoder.fingerprint
    np.testing.assert_allclose(vectors_of(table), encoder.encode(sorted(few.iterdir())), atol=1e-5)


def test_an_encoder_and_settings_of_another_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="settings of its own; leave out dtype, num_workers"):
        EmbedImages(ImageEncoder("tiny-shapes"), dtype="float32", num_workers=3)


def test_images_of_hugging_faces_kind_are_read(gallery: Path, once: Any) -> None:
    files = sorted(gallery.iterdir())[:3]
    rows = [{"bytes": files[0].read_bytes(), "path": None}, *({"bytes": None, "path": str(file)} for file in files[1:])]
    table = EmbedImages("tiny-shapes", device="cpu")(pa.table({"image": rows}))
    np.testing.assert_allclose(vectors_of(table), vectors_of(once)[:3], atol=1e-5)


def test_a_column_may_be_named(gallery: Path) -> None:
    embed = EmbedImages("tiny-shapes", column="photo")
    table = embed(pa.table({"path": ["no.png"], "photo": [str(next(gallery.iterdir()))]}))
    assert table["status"].to_pylist() == ["ok"]
    with pytest.raises(ConfigurationError, match=r"no column 'photo'; pass column=, one of \['name'\]"):
        embed(pa.table({"name": ["a"]}))


def test_vectors_that_are_not_normalized_have_a_fingerprint_of_their_own(gallery: Path) -> None:
    table = pa.table({"path": [str(next(gallery.iterdir()))]})
    plain = EmbedImages("tiny-shapes", device="cpu", normalize=False)
    assert np.linalg.norm(vectors_of(plain(table))) != pytest.approx(1, abs=0.01)
    assert plain.fingerprint != EmbedImages("tiny-shapes", device="cpu").fingerprint


def test_a_killed_actor_is_survived(gallery: Path, once: Any, tmp_path: Path) -> None:
    marker = tmp_path / "killed"

    class DiesOnce(EmbedImages):
        def __call__(self, table: pa.Table) -> pa.Table:
            if not marker.exists():
                marker.touch()
                os._exit(1)
            return super().__call__(table)

    embedded = ray.data.read_binary_files(str(gallery), include_paths=True).map_batches(
        DiesOnce,
        fn_constructor_args=("tiny-shapes",),
        fn_constructor_kwargs={"without": ("bytes",)},
        batch_format="pyarrow",
        batch_size=100,
        compute=ActorPoolStrategy(size=1),
    )
    table = pa.concat_tables(ray.get(embedded.to_arrow_refs())).sort_by("path")
    assert marker.exists()
    assert [Path(path).name for path in table["path"].to_pylist()] == once["path"].to_pylist()
    np.testing.assert_allclose(vectors_of(table), vectors_of(once), atol=1e-5)


def test_a_dataset_without_images_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'bytes', 'image' or 'path'"):
        EmbedImages("tiny-shapes")(pa.table({"name": ["a"]}))


def test_files_of_another_file_system_are_read_by_the_actors(gallery: Path, once: Any) -> None:
    filesystem = pa.fs.SubTreeFileSystem(str(gallery), pa.fs.LocalFileSystem())
    names = [file.name for file in sorted(gallery.iterdir())[:20]]
    table = EmbedImages("tiny-shapes", device="cpu", filesystem=filesystem)(pa.table({"path": [*names, "no.png"]}))
    np.testing.assert_allclose(vectors_of(table)[:20], vectors_of(once)[:20], atol=1e-5)
    assert table["status"].to_pylist()[-1] == "failed"
    assert "FileNotFoundError" in table["error"][-1].as_py()


@pytest.mark.parametrize(("given", "threads"), [(None, 1), (5, 5)])
def test_an_actor_loads_on_as_many_threads_as_it_has_cpus(given: int | None, threads: int) -> None:
    class Actor:
        def threads(self) -> int:
            return EmbedImages("tiny-shapes", num_workers=given)._encoders.images.num_workers

    actor: Any = ray.remote(num_cpus=1)(Actor).remote()
    assert ray.get(actor.threads.remote()) == threads
