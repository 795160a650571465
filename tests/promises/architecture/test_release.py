"""What a release says of itself is the same wherever it says it."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import clip_image_encoder

ROOT = Path(__file__).parents[3]
CHANGELOG = ROOT / "docs" / "changelog.md"


def test_the_installed_package_has_the_version_that_the_module_says() -> None:
    assert version("clip-image-encoder") == clip_image_encoder.__version__


def test_the_changelog_begins_with_this_version() -> None:
    newest = next(line for line in CHANGELOG.read_text("utf-8").splitlines() if line.startswith("## "))
    assert newest.split()[1] == clip_image_encoder.__version__


def test_the_page_about_installing_names_every_extra() -> None:
    page = (ROOT / "docs" / "how-to" / "install.md").read_text("utf-8")
    first_cells = re.findall(r"^\| (`.*?) \|", page, re.MULTILINE)
    named = {extra for cell in first_cells for extra in re.findall(r"`([\w-]+)`", cell)}
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    extras = project.split("[project.optional-dependencies]\n")[1].split("\n[")[0]
    assert named == set(re.findall(r"^([\w-]+) = \[", extras, re.MULTILINE))


def test_an_extra_is_added_to_the_installed_package_where_no_index_has_it() -> None:
    """As the messages of MissingExtraError say."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-index", "clip-image-encoder[urls]"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
