"""Which families there are: the files of this folder, and those of other packages that say so."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.models._family import Family

__all__ = ["GROUP", "available_families", "find_family"]

GROUP = "clip_image_encoder.models"
"""The entry point group in which other packages name their families."""


def available_families() -> list[str]:
    """Return the names of the families that are here, sorted."""
    return sorted(family.name for family in _families())


def find_family(model_type: str) -> Family:
    """Return the family that answers to a `model_type` of `config.json`.

    Raises:
        ConfigurationError: There is none, or another package's family can't be loaded.

    Example:
        >>> from clip_image_encoder.models import find_family
        >>> find_family("clip_vision_model").name
        'CLIP'
    """
    for family in _families():
        if model_type in family.model_types:
            return family
    raise ConfigurationError(f"no family has model_type {model_type!r}; there are {', '.join(available_families())}")


def _families() -> Iterator[Family]:
    """Yield this package's families, and then, if one of those is asked for, other packages'.

    Raises:
        ConfigurationError: A family can't be loaded; after all the others, which it doesn't keep from being found.
    """
    package = importlib.import_module(GROUP)
    for module in pkgutil.iter_modules(package.__path__):
        if not module.name.startswith("_"):
            yield importlib.import_module(f"{GROUP}.{module.name}").FAMILY
    broken: list[ConfigurationError] = []
    for entry in entry_points(group=GROUP):
        try:
            family = _loaded(entry)
        except ConfigurationError as error:  # noqa: PERF203 - they are few
            broken.append(error)
        else:
            yield family
    if broken:
        raise broken[0]


def _loaded(entry: EntryPoint) -> Family:
    """Return the family of another package.

    Raises:
        ConfigurationError: It can't be imported, or is something else.
    """
    try:
        family = entry.load()
    except Exception as error:  # whatever a stranger's module raises while it is imported
        raise ConfigurationError(f"the family {entry.value!r} can't be loaded: {error}") from error
    if not isinstance(family, Family):
        raise ConfigurationError(f"the entry point {entry.name!r} must be a Family, not {family!r}")
    return family
