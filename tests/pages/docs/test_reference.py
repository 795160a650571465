"""The reference has every public name, and each of them says what it is."""

from __future__ import annotations

import re
from collections.abc import Iterator

import griffe
import pytest

import clip_image_encoder
from tests.public import DOCS, SHOWN

ROOT = DOCS.parent
PACKAGE = griffe.load("clip_image_encoder", search_paths=[ROOT])


def target(path: str) -> griffe.Object:
    """What a name means, where it is defined."""
    found = PACKAGE[path.removeprefix("clip_image_encoder.")]
    return found.final_target if isinstance(found, griffe.Alias) else found


def shown_with_members(path: str) -> Iterator[griffe.Object]:
    """What the reference shows under a name: the thing itself and its public members."""
    thing = target(path)
    yield thing
    if isinstance(thing, (griffe.Module, griffe.Class)):
        for name, member in thing.members.items():
            is_listed = name in thing.exports if thing.exports is not None else not name.startswith("_")
            if is_listed and not member.is_alias:
                yield from shown_with_members(f"{thing.path}.{name}")


@pytest.mark.parametrize("name", clip_image_encoder.__all__)
def test_the_reference_shows_a_public_name(name: str) -> None:
    module = target(f"clip_image_encoder.{name}").module.path
    assert {*SHOWN} & {f"clip_image_encoder.{name}", module}


@pytest.mark.parametrize("path", SHOWN)
def test_what_the_reference_shows_says_what_it_is(path: str) -> None:
    silent = [thing.path for thing in shown_with_members(path) if not thing.has_docstring and not is_in_args(thing)]
    assert silent == []


def is_in_args(thing: griffe.Object) -> bool:
    """Whether it is a field that the docstring of its class describes."""
    assert thing.parent is not None
    described = thing.parent.docstring.value if thing.parent.docstring else ""
    return thing.is_attribute and re.search(rf"^ +{thing.name}: ", described, re.MULTILINE) is not None
