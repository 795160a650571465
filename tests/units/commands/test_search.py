"""The commands search and duplicates: a table of paths and scores, and errors that name the model."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from clip_image_encoder import ClassTokenPooling, ImageEncoder, TextEncoder
from clip_image_encoder.__main__ import main
from clip_image_encoder.checkpoint import open_checkpoint
from clip_image_encoder.commands._terminal import row_of, shortened
from clip_image_encoder.folder import embed_folder
from clip_image_encoder.stored_vectors import open_vectors
from tests.units.commands.conftest import HOSTILE, Gallery


def answered(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> list[str]:
    """Return the lines that a command prints."""
    assert main(arguments) == 0
    return capsys.readouterr().out.splitlines()


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line that a command says before it ends with 1."""
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    return error


def rows(lines: list[str]) -> list[tuple[float, str]]:
    """Return the score and path of each row of a table."""
    pairs = [line.strip().split("  ", 1) for line in lines if line.startswith(" ")]
    return [(float(score), path) for score, path in pairs if score != "score"]


@pytest.fixture(scope="module")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the same shape that is another one."""
    folder = tmp_path_factory.mktemp("models") / "other-shapes"
    shutil.copytree(open_checkpoint("tiny-shapes").name, folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    (folder / "config.json").write_text(json.dumps({**config, "logit_scale_init_value": 1.0}), "utf-8")
    return folder


def test_images_are_found_by_words_with_the_model_that_is_stored(
    gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    found = rows(answered(["search", str(gallery.vectors), "a blue star", "-k", "3"], capsys))
    assert found[0][1] == "star/blue.png"
    assert len(found) == 3
    stored = open_vectors(gallery.vectors)
    cosines = stored.vectors @ TextEncoder("tiny-shapes").encode("a blue star")
    np.testing.assert_allclose([score for score, _ in found], np.sort(cosines)[::-1][:3], atol=6e-5)


def test_several_words_are_one_text_wherever_the_options_stand(
    gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    quoted = answered(["search", str(gallery.vectors), "a green heart", "-k", "2"], capsys)
    assert quoted == answered(["search", str(gallery.vectors), "-k", "2", "a", "green", "heart"], capsys)


def test_images_are_found_by_an_image(gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    star = gallery.photos / "star" / "red.png"
    found = rows(answered(["search", str(gallery.vectors), "--image", str(star), "-k", "2"], capsys))
    assert found == [(1.0, "copy of a red star.png"), (1.0, "star/red.png")]


def test_duplicates_are_listed_in_groups(gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    summary, *lines = answered(["duplicates", str(gallery.vectors), "--threshold", "0.999"], capsys)
    assert summary == "4 of 11 images in 2 groups, from a cosine of 0.999"
    assert [path for _, path in rows(lines)] == [HOSTILE, "circle/red.png", "copy of a red star.png", "star/red.png"]


def test_a_text_of_another_model_is_an_error_that_says_which_is_needed(
    gallery: Gallery, other_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = refused(["search", str(gallery.vectors), "a star", "--model", str(other_model)], capsys)
    assert f"made by tiny-shapes, not by {other_model}" in error
    assert "--model tiny-shapes" in error
    image = str(gallery.photos / "star" / "red.png")
    assert error == refused(["search", str(gallery.vectors), "--image", image, "--model", str(other_model)], capsys)


def test_a_model_whose_files_have_changed_is_an_error(
    gallery: Gallery, other_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, vectors = tmp_path / "mine", str(tmp_path / "vectors.parquet")
    shutil.copytree(open_checkpoint("tiny-shapes").name, model)
    embed_folder(gallery.photos, vectors, ImageEncoder(model))
    shutil.copy(other_model / "config.json", model)
    error = refused(["search", vectors, "a star", "--model", str(model)], capsys)
    assert f"made by {model} with other weights or another config" in error


def test_a_folder_as_the_model_is_named_where_its_path_is_needed(
    gallery: Gallery, other_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = str(tmp_path / "vectors.parquet")
    embed_folder(gallery.photos, vectors, ImageEncoder(other_model))
    error = refused(["search", vectors, "a star"], capsys)
    assert "made by the model 'other-shapes'" in error
    assert "--model PATH" in error
    assert rows(answered(["search", vectors, "a", "star", "--model", str(other_model)], capsys))


def test_vectors_in_another_dtype_are_searched_with_the_same_model(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = str(tmp_path / "vectors.parquet")
    embed_folder(gallery.photos, vectors, ImageEncoder("tiny-shapes", dtype="bfloat16"))
    for query in (["a blue star"], ["--image", str(gallery.photos / "star" / "blue.png")]):
        assert rows(answered(["search", vectors, *query], capsys))[0][1] == "star/blue.png"


def test_vectors_that_say_no_model_are_searched_if_the_fingerprint_is_the_models(
    gallery: Gallery, other_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = tmp_path / "vectors.parquet"
    shutil.copytree(gallery.vectors, vectors)
    for file in vectors.glob("*.parquet"):
        table = pq.read_table(file)
        fingerprint = table.schema.metadata[b"clip_image_encoder.fingerprint"]
        pq.write_table(table.replace_schema_metadata({b"clip_image_encoder.fingerprint": fingerprint}), file)
    assert "--model NAME" in refused(["search", str(vectors), "a star"], capsys)
    assert "their fingerprint is not that of" in refused(
        ["search", str(vectors), "a star", "--model", str(other_model)], capsys
    )
    found = rows(answered(["search", str(vectors), "a blue star", "--model", "tiny-shapes"], capsys))
    assert found[0][1] == "star/blue.png"


def test_vectors_of_another_pooling_are_not_compared_with_texts(
    gallery: Gallery, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    vectors = str(tmp_path / "vectors.parquet")
    embed_folder(gallery.photos, vectors, ImageEncoder("tiny-shapes", pooling=ClassTokenPooling()))
    assert "their fingerprint is not that of tiny-shapes" in refused(["search", vectors, "a star"], capsys)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["a star", "-k", "0"], "-k must be a positive integer"),
        (["a star", "--images", "."], "--html FILE, which is missing"),
        (["a star", "--images", "./nowhere", "--html", "page.html"], "nowhere is not a folder"),
        (["--image", "nowhere.png"], "nowhere.png"),
        (["a star", "--model", "./nowhere"], "nowhere: no such folder"),
        (["a star", "--html", "./nowhere/page.html"], "page.html"),
    ],
)
def test_what_is_wrong_is_one_line(
    arguments: list[str], problem: str, gallery: Gallery, capsys: pytest.CaptureFixture[str]
) -> None:
    assert problem in refused(["search", str(gallery.vectors), *arguments], capsys)


@pytest.mark.parametrize("command", [["search", "nowhere", "a star"], ["duplicates", "nowhere"]])
def test_a_folder_without_vectors_is_one_line(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert "nowhere holds no vectors" in refused(command, capsys)


def test_a_threshold_above_1_is_one_line(gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    assert "threshold must be" in refused(["duplicates", str(gallery.vectors), "--threshold", "95"], capsys)


def test_a_row_fits_the_terminal_and_keeps_the_end_of_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"a/long/{'long/' * 20}path/beach.jpg"
    assert row_of(0.5, path) == f"  0.5000  {path}"
    monkeypatch.setattr("os.get_terminal_size", lambda _: os.terminal_size((40, 20)))
    row = row_of(0.5, path)
    assert len(row) == 40
    assert row.endswith("path/beach.jpg")


def test_wide_letters_count_for_two_columns() -> None:
    assert shortened("写真/海.jpg", 8) == "…/海.jpg"
    assert shortened("e\u0301te\u0301.jpg", 7) == "e\u0301te\u0301.jpg"


def test_a_hostile_name_is_one_row_without_control_characters() -> None:
    assert row_of(0.5, "a\nb\x1b[31m\u202egpj.exe") == "  0.5000  a\\nb\\x1b[31m\\u202egpj.exe"
