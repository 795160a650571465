"""One short string for all that decides a vector."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from enum import Enum
from pathlib import PurePath
from typing import Any

import numpy as np

from clip_image_encoder.errors import ConfigurationError

__all__ = ["describe_component", "fingerprint"]

# Counts up when this package computes other vectors from the same components.
_RULES = "clip_image_encoder vectors 1"

# Whose repr says all of their value, in every version of Python.
_PLAIN = (type(None), bool, int, float, complex, str, bytes, range)


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
    else the class and fields of a frozen dataclass. Values of fields may be numbers, strings, enums,
    paths, arrays, tensors on the CPU, tuples, lists, dicts and sets of these, and components.

    The metadata of a field may say how it is described:

    - `{"fingerprint": text}`: by this text, whatever its value, for settings that decide no vector; "" leaves
      the field out.
    - `{"fingerprint_omits": value}`: not at all while it has this value, so that a field that is added to a
      class leaves the fingerprints of before as they were.

    Raises:
        ConfigurationError: it is none of these, so that nothing is known about it.

    Example:
        >>> from dataclasses import dataclass, field
        >>> @dataclass(frozen=True, kw_only=True)
        ... class Sharpened:
        ...     strength: float = 0.5
        ...     threads: int = field(default=1, metadata={"fingerprint": ""})
        >>> describe_component(Sharpened(threads=4)).rpartition(".Sharpened")[2]
        '(strength=0.5)'
    """
    return component if isinstance(component, str) else _described(component, type(component).__qualname__)


def _described(component: object, name: str) -> str:
    """Describe what is a component or nothing; `name` is what messages call it."""
    said = getattr(component, "fingerprint", None)
    # A default repr holds a memory address, which says nothing and changes from run to run.
    if isinstance(said, str) and not re.search(r" at 0x[0-9a-fA-F]+", said):
        return said
    kind = type(component)
    if said is None and dataclasses.is_dataclass(component) and not isinstance(component, type):
        fields = [_field(field, getattr(component, field.name), name) for field in dataclasses.fields(component)]
        return f"{_name(kind)}({', '.join(filter(None, fields))})"
    raise _unknown(component, name)


def _field(field: dataclasses.Field[Any], value: object, owner: str) -> str:
    """Return "name=value", or what the field's metadata says."""
    if "fingerprint" in field.metadata:
        return str(field.metadata["fingerprint"])
    name = f"{owner}.{field.name}"
    described = _value(value, name)
    if "fingerprint_omits" in field.metadata and described == _value(field.metadata["fingerprint_omits"], name):
        return ""
    return f"{field.name}={described}"


def _value(value: object, name: str) -> str:
    """Describe a value, down to its last number; never by a repr that may leave something out."""
    kind = type(value)
    if kind in _PLAIN:
        return repr(value)
    if isinstance(value, Enum):
        return f"<{kind.__name__}.{value.name}: {_value(value.value, name)}>"
    if isinstance(value, PurePath):
        return f"{kind.__name__}({str(value)!r})"
    if isinstance(value, (tuple, list)) and kind in (tuple, list):
        described = ", ".join(_value(item, name) for item in value)
        return f"[{described}]" if kind is list else f"({described},)" if len(value) == 1 else f"({described})"
    if isinstance(value, (dict, set, frozenset)) and kind in (dict, set, frozenset):
        members = value.items() if isinstance(value, dict) else value
        return f"{kind.__name__}({', '.join(sorted(_value(member, name) for member in members))})"
    if kind in (np.ndarray, np.memmap) or isinstance(value, np.generic) or hasattr(kind, "__dlpack__"):
        return _array(value, name)
    return _described(value, name)


def _array(value: Any, name: str) -> str:
    """Describe an array, or a tensor of any library that speaks DLPack, by its type, shape and numbers."""
    if isinstance(value, np.ndarray) and type(value) not in (np.ndarray, np.memmap):  # as one with a mask
        raise _unknown(value, name)
    try:
        array = np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else np.from_dlpack(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:  # on a GPU, or with a gradient
        raise _unknown(value, name) from error
    if array.dtype.hasobject:
        raise _unknown(value, name)
    digest = hashlib.sha256(array.tobytes()).hexdigest()
    return f"{_name(type(value))}({np.lib.format.dtype_to_descr(array.dtype)!r}, {array.shape}, {digest})"


def _name(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _unknown(value: object, name: str) -> ConfigurationError:
    kind = type(value).__qualname__
    what = name if name == kind else f"{name} is of type {kind}, which"
    return ConfigurationError(
        f"{what} can't be fingerprinted; make it a frozen dataclass, or give the component a `fingerprint` string "
        "that changes whenever its results do"
    )
