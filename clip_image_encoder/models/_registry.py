"""The list of model families: this folder's files, and the families that other packages register."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from importlib.metadata import EntryPoint, entry_points

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.models._family import Family

__all__ = ["GROUP", "available_families", "find_family"]

GROUP = "clip_image_encoder.models"
"""Entry point group in which other packages register their families."""


def available_families() -> list[str]:
    """Return the names of the installed families, sorted."""
    return sorted(family.name for family in _families())


def find_family(model_type: str) -> Family:
    """Return the family that supports a `model_type` of `config.json`.

    Args:
        model_type: Value of the field, such as "clip_vision_model".

    Raises:
        ConfigurationError: No family supports it, or a family of another package can't be loaded.

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
    """Yield this package's families, then those of other packages, which are imported only if iteration gets there.

    Raises:
        ConfigurationError: A family of another package can't be loaded; raised after all the others were yielded.
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
    """Return the family that another package's entry point names.

    Raises:
        ConfigurationError: The family can't be imported, or is not a `Family`.
    """
    try:
        family = entry.load()
    except Exception as error:  # the other package's module may raise anything while it is imported
        raise ConfigurationError(f"the family {entry.value!r} can't be loaded: {error}") from error
    if not isinstance(family, Family):
        raise ConfigurationError(f"the entry point {entry.name!r} must be a Family, not {family!r}")
    return family
