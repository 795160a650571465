"""Conversion of a preprocess to JSON values and back, for exported folders."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from PIL.Image import Resampling

from clip_image_encoder.errors import ConfigurationError
from clip_image_encoder.preprocess.clip import ClipPreprocess
from clip_image_encoder.preprocess.open_clip import OpenClipPreprocess

__all__ = ["stored", "taken"]

_KINDS = (ClipPreprocess, OpenClipPreprocess)


def stored(preprocess: object) -> dict[str, Any]:
    """Return the class and the fields of a preprocess as JSON values, from which `taken` makes it again.

    Raises:
        ConfigurationError: The preprocess is of a class that can't be stored.
    """
    if not isinstance(preprocess, _KINDS):
        raise ConfigurationError(
            f"{type(preprocess).__name__} can't be exported; a ClipPreprocess or an OpenClipPreprocess can"
        )
    fields = {name: getattr(preprocess, name) for name in _names(type(preprocess))}
    return {"kind": type(preprocess).__name__, **fields, "resample": preprocess.resample.name}


def taken(config: Mapping[str, Any]) -> ClipPreprocess | OpenClipPreprocess:
    """Return the preprocess that `stored` has described.

    Raises:
        ConfigurationError: The class is not known, or its fields don't match.
    """
    kind = next((kind for kind in _KINDS if kind.__name__ == config.get("kind")), None)
    try:
        if kind is None:
            raise ValueError(f"{config.get('kind')!r} is not known")
        values = {name: _tuple(config[name]) for name in _names(kind)}
        return kind(**{**values, "resample": Resampling[config["resample"]]})
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigurationError(f"the preprocess in the exported folder can't be read: {error}") from error


def _names(kind: type[ClipPreprocess | OpenClipPreprocess]) -> list[str]:
    """Return the names of the fields that are stored: all but `exact`, which the encoder decides."""
    return [field.name for field in dataclasses.fields(kind) if field.name != "exact"]


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
