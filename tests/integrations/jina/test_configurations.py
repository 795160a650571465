"""The configurations and Dockerfiles name what exists."""

from __future__ import annotations

import re
from importlib import import_module
from importlib.metadata import metadata
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "docs" / "integrations" / "jina"
DOCKERFILES = sorted(FOLDER.glob("Dockerfile*"))


@pytest.mark.parametrize("file", sorted(FOLDER.glob("*.yml")), ids=lambda file: file.name)
def test_a_configuration_names_an_executor_of_ours(file: Path) -> None:
    config = yaml.safe_load(file.read_text())
    module = import_module(config["py_modules"][0])
    assert config["jtype"] in module.__all__


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_every_path_that_a_dockerfile_copies_exists(file: Path) -> None:
    copied = re.findall(r"^COPY (.+) \S+$", file.read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert len(sources) == 5
    for source in sources:
        assert (ROOT / source).exists(), source


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_a_dockerfile_is_built_by_its_own_first_lines(file: Path) -> None:
    named = re.search(r"-f (\S+) ", file.read_text())
    assert named
    assert (ROOT / named[1]) == file


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda file: file.name)
def test_the_extra_that_a_dockerfile_installs_exists(file: Path) -> None:
    extras = re.findall(r"/package\[(\w+)\]", file.read_text())
    assert extras == ["jina"]
    assert "jina" in (metadata("clip-image-encoder").get_all("Provides-Extra") or [])


def test_there_is_one_dockerfile_for_each_kind_of_machine() -> None:
    assert [file.name for file in DOCKERFILES] == ["Dockerfile", "Dockerfile.gpu"]
