"""What the tests of the bundled checkpoint share."""

from pathlib import Path

import pytest

from tests.programs.training.train import CHECKPOINT


@pytest.fixture(name="checkpoint", scope="session")
def _checkpoint() -> Path:
    """The folder of the bundled files."""
    return CHECKPOINT
