"""Names of the devices that a call runs on, checked against those that a component has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from clip_image_encoder.errors import ConfigurationError

__all__ = ["Devices", "resolve_devices"]

Devices: TypeAlias = str | Sequence[str] | None
"""Name of a device, or a list of names to split the work over; None means the best available device."""


def resolve_devices(device: Devices, available: Sequence[str]) -> tuple[str, ...]:
    """Return the names of the devices to run on, in the component's own spelling.

    Args:
        device: Name or names that the caller asked for, where "cuda" means "cuda:0"; None means the best device.
        available: Names of the devices that the component can run on, the best first.

    Raises:
        ConfigurationError: A device is not available, or the list is empty.

    Example:
        >>> resolve_devices("cuda", ["cuda:0", "cuda:1", "cpu"])
        ('cuda:0',)
    """
    if device is None:
        return (available[0],)
    # A torch.device is neither a str nor a sequence; its str() is its name.
    names = [str(name) for name in device] if isinstance(device, (list, tuple)) else [str(device)]
    if not names:
        raise ConfigurationError("device is an empty list; name a device, or leave it out")
    resolved = []
    for name in names:
        match = next((spelling for spelling in (name, f"{name}:0") if spelling in available), None)
        if match is None:
            raise ConfigurationError(f"no device {name!r} here; available: {', '.join(available)}")
        resolved.append(match)
    return tuple(resolved)
