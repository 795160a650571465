"""Fingerprints: one short string for everything that decides a vector."""

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

# The number is raised when this package computes other vectors from the same components.
_RULES = "clip_image_encoder vectors 1"

# Types whose repr is their whole value, in every version of Python.
_PLAIN = (type(None), bool, int, float, complex, str, bytes, range)


def fingerprint(*components: object) -> str:
    """Return a hexadecimal SHA-256 that is the same for the same components, in every process.

    Args:
        components: Components in the order in which an input passes them, or strings that describe them.

    Raises:
        ConfigurationError: A component can't be described; see `describe_component`.
    """
    described = "\n".join([_RULES, *map(describe_component, components)])
    return hashlib.sha256(described.encode()).hexdigest()


def describe_component(component: object) -> str:
    """Return a text that holds everything that decides what a component computes.

    The text is the component itself if it is a string, its `fingerprint` attribute if it has one, or
    else the class and fields of a dataclass. Values of fields may be numbers, strings, enums,
    paths, arrays, tensors on the CPU, tuples, lists, dicts and sets of these, and components.

    The metadata of a field may change how the field is described:

    - `{"fingerprint": text}` puts this text in the place of name and value, for settings that change no vector;
      "" leaves the field out.
    - `{"fingerprint_omits": value}` leaves the field out while it has this value, so that a new field with this
      default does not change earlier fingerprints.
    - `{"fingerprint_name": name}` keeps an earlier name of the field in fingerprints.

    Args:
        component: Component to describe.

    Raises:
        ConfigurationError: The component, or a value in it, is of another kind.

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
    """Describe a value that must be a component; `name` is its name in error messages."""
    said = getattr(component, "fingerprint", None)
    # A fingerprint made of a default repr, "<... object at 0x7f...>", changes from run to run.
    if isinstance(said, str) and not re.search(r" at 0x[0-9a-fA-F]+", said):
        return said
    kind = type(component)
    if said is None and dataclasses.is_dataclass(component) and not isinstance(component, type):
        fields = [_field(field, getattr(component, field.name), name) for field in dataclasses.fields(component)]
        return f"{_name(kind)}({', '.join(filter(None, fields))})"
    raise _unknown(component, name)


def _field(field: dataclasses.Field[Any], value: object, owner: str) -> str:
    """Return "name=value", or the text that the field's metadata gives."""
    if "fingerprint" in field.metadata:
        return str(field.metadata["fingerprint"])
    name = f"{owner}.{field.name}"
    described = _value(value, name)
    if "fingerprint_omits" in field.metadata and described == _value(field.metadata["fingerprint_omits"], name):
        return ""
    return f"{field.metadata.get('fingerprint_name', field.name)}={described}"


def _value(value: object, name: str) -> str:
    """Describe a value completely; the repr of an array or of an unknown class may leave something out."""
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
    """Describe an array, or a tensor of any library with DLPack, by its type, its shape and a hash of its numbers."""
    if isinstance(value, np.ndarray) and type(value) not in (np.ndarray, np.memmap):  # such as a masked array
        raise _unknown(value, name)
    try:
        array = np.asarray(value) if isinstance(value, (np.ndarray, np.generic)) else np.from_dlpack(value)
    except (TypeError, ValueError, RuntimeError, BufferError) as error:  # a tensor on a GPU, or with a gradient
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
