"""One short string for all that decides a vector."""

from __future__ import annotations

import dataclasses
import hashlib
import re

from clip_image_encoder.errors import ConfigurationError

__all__ = ["describe_component", "fingerprint"]

# Counts up when this package computes other vectors from the same components.
_RULES = "clip_image_encoder vectors 1"


def fingerprint(*components: object) -> str:
    """Return a hexadecimal SHA-256 that is the same for the same components, in every process.

    Raises:
        ConfigurationError: a component does not say what it is; see `describe_component`.
    """
    described = "\n".join([_RULES, *map(describe_component, components)])
    return hashlib.sha256(described.encode()).hexdigest()


def describe_component(component: object) -> str:
    """Return all that decides what a component computes, as text.

    That is the component itself if it is a string, its `fingerprint` attribute if it has one, or
    else the class and fields of a frozen dataclass.

    Raises:
        ConfigurationError: it is neither, so that nothing is known about it.

    Example:
        >>> from clip_image_encoder.pooling import MeanPatchesPooling
        >>> describe_component(MeanPatchesPooling())
        'clip_image_encoder.pooling.mean_patches.MeanPatchesPooling()'
    """
    kind = type(component)
    described = component if isinstance(component, str) else getattr(component, "fingerprint", None)
    if not isinstance(described, str) and dataclasses.is_dataclass(component):
        fields = [f"{field.name}={getattr(component, field.name)!r}" for field in dataclasses.fields(component)]
        described = f"{kind.__module__}.{kind.__qualname__}({', '.join(fields)})"
    # A default repr holds a memory address, which says nothing and changes from run to run.
    if not isinstance(described, str) or re.search(r" at 0x[0-9a-fA-F]+", described):
        raise ConfigurationError(
            f"{kind.__qualname__} can't be fingerprinted; make it a frozen dataclass, or give it a "
            "`fingerprint` string that changes whenever its results do"
        )
    return described
