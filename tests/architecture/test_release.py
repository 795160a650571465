"""What a release says of itself is the same wherever it says it."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import clip_image_encoder

CHANGELOG = Path(__file__).parents[2] / "docs" / "changelog.md"


def test_the_installed_package_has_the_version_that_the_module_says() -> None:
    assert version("clip-image-encoder") == clip_image_encoder.__version__


def test_the_changelog_begins_with_this_version() -> None:
    newest = next(line for line in CHANGELOG.read_text("utf-8").splitlines() if line.startswith("## "))
    assert newest.split()[1] == clip_image_encoder.__version__
