"""The eleven basic color terms of English (Berlin and Kay, 1969), their shades, and the distance of two shades."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np

RGB = tuple[int, int, int]

SHADES: Mapping[str, tuple[RGB, ...]] = MappingProxyType(
    {
        "black": ((0, 0, 0), (0, 0, 0), (20, 20, 20), (30, 30, 34), (40, 40, 40)),
        "white": ((255, 255, 255), (255, 255, 255), (245, 245, 245), (255, 252, 245), (248, 248, 255)),
        "red": ((255, 0, 0), (255, 0, 0), (220, 20, 60), (200, 0, 0), (229, 45, 45), (150, 0, 0), (244, 67, 54)),
        "green": (
            *((0, 128, 0), (0, 255, 0), (0, 128, 0), (34, 139, 34), (50, 205, 50), (0, 100, 0), (60, 179, 113)),
            *((144, 238, 144), (95, 140, 40), (76, 175, 80), (40, 200, 90), (20, 90, 50)),
        ),
        "yellow": ((255, 255, 0), (255, 255, 0), (255, 225, 0), (255, 235, 59), (255, 255, 130), (240, 220, 50)),
        "blue": (
            *((0, 0, 255), (0, 0, 255), (0, 0, 128), (65, 105, 225), (30, 144, 255), (135, 206, 235), (70, 130, 180)),
            *((25, 25, 112), (0, 191, 255), (33, 150, 243), (173, 216, 230), (100, 149, 237), (20, 60, 140)),
        ),
        "brown": (
            *((165, 42, 42), (139, 69, 19), (160, 82, 45), (101, 67, 33), (121, 85, 72), (92, 51, 23)),
            *((150, 95, 50), (123, 63, 0), (165, 42, 42)),
        ),
        "orange": ((255, 165, 0), (255, 165, 0), (255, 140, 0), (255, 127, 0), (255, 152, 0), (245, 130, 32)),
        "pink": (
            *((255, 192, 203), (255, 192, 203), (255, 105, 180), (255, 182, 193), (255, 20, 147), (244, 143, 177)),
            *((255, 150, 200), (235, 110, 160), (250, 160, 175), (227, 119, 194)),
        ),
        "purple": (
            *((128, 0, 128), (128, 0, 128), (148, 0, 211), (138, 43, 226), (90, 0, 140), (147, 112, 219)),
            *((153, 50, 204), (102, 51, 153), (156, 39, 176), (186, 85, 211), (100, 30, 110)),
        ),
        "grey": ((128, 128, 128), (128, 128, 128), (105, 105, 105), (169, 169, 169), (150, 152, 155), (192, 192, 192)),
    }
)
"""Shades of each color term, RGB in 0..255; typical shades occur more than once."""

COLORS = tuple(SHADES)
"""The eleven basic color terms of English."""


def shade(color: str, generator: np.random.Generator, *, spread: float = 7.0) -> RGB:
    """Draw a random shade of a color.

    Args:
        color: Name of the color, one of `COLORS`.
        generator: Source of the random numbers.
        spread: Standard deviation of a channel around the listed shades, on the scale of 0..255.

    Returns:
        Red, green and blue in 0..255.
    """
    listed = np.array(SHADES[color], dtype=np.float64)
    first, other = listed[generator.integers(len(listed), size=2)]
    anchor = first + (other - first) * generator.random() if generator.random() < 0.5 else first
    # Black, white and grey have no hue: their channels change mostly together.
    together = color in ("black", "white", "grey")
    strays = generator.normal(0.0, spread, 3) * (0.3 if together else 0.8) + generator.normal(0.0, spread)
    return as_rgb(anchor + strays * generator.random())


def as_rgb(values: np.ndarray) -> RGB:
    """Round three numbers to an RGB color, clipped to 0..255."""
    red, green, blue = (int(value) for value in np.clip(np.rint(values), 0, 255))
    return red, green, blue


def distance(first: RGB, second: RGB) -> float:
    """Return how different two colors look: their Euclidean distance in CIELAB (CIE76), 100 for black and white.

    >>> round(distance((0, 0, 0), (255, 255, 255)))
    100
    """
    return float(np.linalg.norm(_lab(first) - _lab(second)))


def contrasting(paint: RGB, generator: np.random.Generator, *, at_least: float = 32.0) -> RGB:
    """Draw a random color, with a name or without, on which `paint` is easy to see.

    Args:
        paint: RGB color that lies on the drawn one.
        generator: Source of the random numbers.
        at_least: Smallest `distance` of the two colors.

    Returns:
        Red, green and blue in 0..255.
    """
    while True:
        kind = generator.random()
        if kind < 0.45:
            candidate = shade(COLORS[generator.integers(len(COLORS))], generator)
        elif kind < 0.6:
            candidate = as_rgb(generator.uniform(0, 255) + generator.normal(0.0, 6.0, 3))
        elif kind < 0.75:
            candidate = as_rgb(255 - generator.uniform(0, 60, 3))
        else:
            candidate = as_rgb(generator.uniform(0, 255, 3))
        if distance(paint, candidate) >= at_least:
            return candidate


def _lab(rgb: RGB) -> np.ndarray:
    """Convert sRGB in 0..255 to CIELAB under D65."""
    encoded = np.array(rgb, dtype=np.float64) / 255.0
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    xyz = _XYZ_OF_LINEAR_RGB @ linear / _WHITE
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


_XYZ_OF_LINEAR_RGB = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = _XYZ_OF_LINEAR_RGB.sum(axis=1)
