"""Which devices a call runs on: names, checked against what a component has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from clip_image_encoder.errors import ConfigurationError

__all__ = ["Devices", "resolve_devices"]

Devices: TypeAlias = str | Sequence[str] | None
"""A device's name, several to split the work over, or None for the best there is."""


def resolve_devices(device: Devices, available: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the devices to run on, as the component that runs on them spells them.

    Args:
        device: what the caller asked for; "cuda" means "cuda:0".
        available: what there is, the best first.

    Raises:
        ConfigurationError: a device is not there, or the list is empty.

    Example:
        >>> resolve_devices("cuda", ["cuda:0", "cuda:1", "cpu"])
        ('cuda:0',)
    """
    if device is None:
        return (available[0],)
    # A torch.device is neither a str nor a sequence, and says its name when asked.
    names = [str(name) for name in device] if isinstance(device, (list, tuple)) else [str(device)]
    if not names:
        raise ConfigurationError("device is an empty list; name a device, or leave it out")
    resolved = []
    for name in names:
        match = next((spelling for spelling in (name, f"{name}:0") if spelling in available), None)
        if match is None:
            raise ConfigurationError(f"no device {name!r} here; there are {', '.join(available)}")
        resolved.append(match)
    return tuple(resolved)
