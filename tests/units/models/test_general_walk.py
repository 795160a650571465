"""Each type of model of transformers that sees images has a family's file, or its own class, or is refused."""

from __future__ import annotations

import pytest
from transformers import CONFIG_MAPPING

from .general_models import TINY
from .model_types import FILES, REFUSED, outcome, stated, walked

STATED = stated()


@pytest.mark.filterwarnings("ignore")  # of transformers, which has some for types that it is to drop
@pytest.mark.parametrize("model_type", walked())
def test_a_type_ends_as_is_stated(model_type: str) -> None:
    """One that a newer transformers brings isn't stated; it ends in a file, the door, or a reason all the same."""
    found = outcome(model_type)
    if model_type in STATED:
        assert any(words in found for words in STATED[model_type])
    else:
        assert found in ("file", "door") or found.startswith("name: ")


def test_no_type_that_gives_vectors_is_stated_twice() -> None:
    refused = {name for names in REFUSED.values() for name in names.split()}
    assert not set(FILES.split()) & set(TINY)
    assert not (set(FILES.split()) | set(TINY)) & refused


def test_each_type_that_gives_vectors_is_walked() -> None:
    here = {name for name in (*FILES.split(), *TINY) if name in CONFIG_MAPPING}
    assert here <= set(walked())
