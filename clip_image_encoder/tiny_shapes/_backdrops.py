"""Backgrounds of a shape: plain, graded, patterned or like a photo, never close to the shape's color.

A canvas is an `(H, W, 3)` float32 array of RGB in 0..255.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
from PIL import Image, ImageDraw

from ._colors import RGB, as_rgb, contrasting, distance

Canvas = np.ndarray
Generator = np.random.Generator


def plain(color: RGB, width: int, height: int) -> Canvas:
    """Return a canvas of one color."""
    return np.full((height, width, 3), color, dtype=np.float32)


def varied(paint: RGB, base: RGB, width: int, height: int, generator: Generator) -> Canvas:
    """Draw a background of a random kind around the color `base`, on which a shape of color `paint` is easy to see."""
    kinds = tuple(_KINDS)
    kind = _KINDS[kinds[generator.integers(len(kinds))]]
    return kind(base, second(paint, base, generator), width, height, generator)


def second(paint: RGB, base: RGB, generator: Generator) -> RGB:
    """Draw a second color for `base`, so that `paint` is easy to see on it and on every mixture of the two."""
    for _ in range(8):
        other = np.array(contrasting(paint, generator))
        share = generator.choice([0.25, 0.5, 1.0])
        candidate = as_rgb(base + (other - base) * share)
        mixtures = (as_rgb(base + (np.array(candidate) - base) * part) for part in (0.35, 0.65, 1.0))
        if all(distance(paint, mixture) > 26.0 for mixture in mixtures):
            return candidate
    return base


def mixed(base: RGB, other: RGB, share: np.ndarray) -> Canvas:
    """Return a canvas of two colors, mixed by an `(H, W)` array of shares in 0..1."""
    low, high = np.array(base, dtype=np.float32), np.array(other, dtype=np.float32)
    return np.asarray(low + (high - low) * share[..., None].astype(np.float32))


def ramp(width: int, height: int, angle: float) -> np.ndarray:
    """Return a linear ramp, `(H, W)` float32 in 0..1, that rises in the direction of `angle` in radians."""
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)
    slope = np.cos(angle) * x + np.sin(angle) * y[:, None]
    return np.asarray((slope - slope.min()) / np.ptp(slope))


def clouds(width: int, height: int, cells: int, generator: Generator) -> np.ndarray:
    """Return smooth noise, `(H, W)` float32, about 0..1, with about `cells` maxima on each side."""
    coarse = Image.fromarray((generator.random((cells, cells)) * 255).astype(np.uint8))
    return np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32) / 255


def _linear(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:
    return mixed(base, other, ramp(width, height, generator.uniform(0, 2 * np.pi)))


def _radial(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
    away = np.hypot(x - generator.uniform(-0.5, 0.5), y - generator.uniform(-0.5, 0.5))
    return mixed(base, other, np.clip(away / generator.uniform(1.0, 1.6), 0, 1))


def _stripes(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:
    angle = generator.choice([0.0, np.pi / 2, np.pi / 4, generator.uniform(0, np.pi)])
    bands = int(generator.integers(3, 14))
    return mixed(base, other, ramp(width, height, angle) * bands % 1 < generator.uniform(0.3, 0.7))


def _checks(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:
    cell = max(2, int(min(width, height) / generator.integers(3, 15)))
    x, y = np.arange(width) // cell, np.arange(height)[:, None] // cell
    return mixed(base, other, (x + y) % 2)


def _dots(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:
    cell = min(width, height) / generator.integers(6, 14)
    x, y = np.arange(width) % cell - cell / 2, np.arange(height)[:, None] % cell - cell / 2
    return mixed(base, other, np.hypot(x, y) < cell * generator.uniform(0.15, 0.3))


def _grid(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:
    cell = max(4, int(min(width, height) / generator.integers(4, 12)))
    thick = max(1, cell // 8)
    return mixed(base, other, (np.arange(width) % cell < thick) | (np.arange(height)[:, None] % cell < thick))


def _halves(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:
    beyond = ramp(width, height, generator.integers(4) * np.pi / 2)
    return mixed(base, other, beyond > generator.uniform(0.3, 0.7))


def _clouds(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:
    return mixed(base, other, clouds(width, height, int(generator.integers(3, 12)), generator))


def _grain(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:
    share = generator.random((height, width), dtype=np.float32)
    strength = generator.uniform(0.2, 1.0)
    canvas = mixed(base, other, 0.5 + (share - 0.5) * strength)
    if generator.random() < 0.5:
        canvas += generator.normal(0.0, generator.uniform(4, 30), canvas.shape).astype(np.float32)
    return canvas


def _static(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:  # noqa: ARG001
    """Specks of random colors, some pixels wide."""
    speck = int(generator.integers(1, max(2, min(width, height) // 24)))
    cells = generator.uniform(-1, 1, (-(-height // speck), -(-width // speck), 3)).astype(np.float32)
    specks = cells.repeat(speck, axis=0).repeat(speck, axis=1)[:height, :width]
    return np.asarray(plain(base, width, height) + generator.uniform(20, 130) * specks)


def _mosaic(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:
    """A Voronoi diagram of random points, whose cells have mixtures of the two colors."""
    points = generator.random((int(generator.integers(5, 30)), 2)) * (width, height)
    across = (np.arange(width)[:, None] - points[:, 0]) ** 2
    down = (np.arange(height)[:, None] - points[:, 1]) ** 2
    nearest = (down[:, None] + across).argmin(axis=2)
    return mixed(base, other, generator.random(len(points))[nearest])


def _photo(base: RGB, other: RGB, width: int, height: int, generator: Generator) -> Canvas:
    """Blurred objects before a horizon, lit from one side."""
    share = 0.5 * ramp(width, height, generator.uniform(0.3, 0.7) * np.pi)
    share += 0.3 * clouds(width, height, 4, generator) + 0.2 * clouds(width, height, 13, generator)
    things = Image.new("L", (width // 4 + 1, height // 4 + 1))
    pencil = ImageDraw.Draw(things)
    for _ in range(generator.integers(2, 7)):
        left, top = generator.uniform(-0.2, 0.9, 2) * things.size
        wide, high = generator.uniform(0.1, 0.5, 2) * things.size
        pencil.ellipse((left, top, left + wide, top + high), fill=int(generator.integers(60, 200)))
    blurred = things.resize((width, height), Image.Resampling.BICUBIC)
    share = np.clip(share + np.asarray(blurred, dtype=np.float32) / 255 * generator.uniform(-0.6, 0.6), 0, 1)
    canvas = mixed(base, other, share)
    return canvas + generator.normal(0.0, 5.0, (height, width, 1)).astype(np.float32)


_KINDS: Mapping[str, Callable[[RGB, RGB, int, int, Generator], Canvas]] = MappingProxyType(
    {
        "linear": _linear,
        "radial": _radial,
        "stripes": _stripes,
        "checks": _checks,
        "dots": _dots,
        "grid": _grid,
        "halves": _halves,
        "clouds": _clouds,
        "grain": _grain,
        "static": _static,
        "mosaic": _mosaic,
        "photo": _photo,
    }
)
