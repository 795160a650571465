"""The eight shapes as closed contours, each in several forms.

A contour is an `(n, 2)` float array of points, x to the right and y down. A shape is one contour; a ring is two, the
outer one and the hole. `contours` fits a shape into the square from -1 to 1, so that the longer side of its box is 2.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

Contours = list[np.ndarray]
Generator = np.random.Generator


def contours(shape: str, generator: Generator | None = None) -> Contours:
    """Return the contours of a shape.

    Args:
        shape: Name of the shape, one of `SHAPES`.
        generator: Source of random proportions, rotation and perspective, within the limits of the shape's name. None
            gives the regular form, upright.

    Returns:
        One contour, or two where the second is a hole, in -1..1 around the center of their box.

    >>> [contour.shape[1] for contour in contours("ring")]
    [2, 2]
    """
    if generator is None:
        return _fitted(_OUTLINES[shape](None))
    drawn = _OUTLINES[shape](generator)
    stretch = generator.uniform(-1, 1) * _STRETCH[shape]
    drawn = [contour * np.array([1 + stretch, 1 - stretch]) for contour in drawn]
    turned = [contour @ _rotation(_turn(shape, generator)).T for contour in drawn]
    if generator.random() < 0.2:
        turned = _in_perspective(_fitted(turned), generator)
    if generator.random() < 0.2:
        turned = _by_hand(_fitted(turned), generator)
    return _fitted(turned)


def _circle(_: Generator | None) -> Contours:
    return [_regular(72)]


def _square(_: Generator | None) -> Contours:
    return [np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=np.float64)]


def _triangle(generator: Generator | None) -> Contours:
    if generator is None or generator.random() < 0.4:
        return [_regular(3)]
    if generator.random() < 0.35:
        return [np.array([[-1, -1], [-1, 1], [generator.uniform(0.5, 1.2), 1]])]
    top = generator.normal(0.0, 0.25) if generator.random() < 0.3 else 0.0
    return [np.array([[top, -generator.uniform(0.55, 1.6)], [1, 0.8], [-1, 0.8]])]


def _star(generator: Generator | None) -> Contours:
    if generator is None:
        return [_pointed(5, 0.42)]
    points = int(generator.choice([4, 5, 6, 7, 8], p=[0.12, 0.56, 0.16, 0.06, 0.10]))
    least, most = {4: (0.22, 0.45), 5: (0.28, 0.58), 6: (0.32, 0.64), 7: (0.36, 0.66), 8: (0.36, 0.68)}[points]
    return [_pointed(points, generator.uniform(least, most))]


def _cross(generator: Generator | None) -> Contours:
    half = 0.28 if generator is None else generator.uniform(0.1, 0.42)
    top, bottom, side = -1.0, 1.0, 1.0
    if generator is not None and generator.random() < 0.25:  # a Latin cross, whose bar is above the middle
        side, top, bottom = generator.uniform(0.55, 0.8), -generator.uniform(0.5, 0.75), 1.15
        half = min(half, 0.25)
    arms = [[-half, top], [half, top], [half, -half], [side, -half], [side, half], [half, half]]
    arms += [[half, bottom], [-half, bottom], [-half, half], [-side, half], [-side, -half], [-half, -half]]
    return [np.array(arms)]


def _ring(generator: Generator | None) -> Contours:
    hole = 0.55 if generator is None else generator.uniform(0.33, 0.86)
    return [_regular(72), _regular(72) * hole]


def _diamond(generator: Generator | None) -> Contours:
    width = 0.68
    if generator is not None:
        width = 1.0 if generator.random() < 0.4 else generator.uniform(0.45, 0.9)
    rhombus = np.array([[0.0, -1.0], [width, 0.0], [0.0, 1.0], [-width, 0.0]])
    if generator is not None and generator.random() < 0.12:  # the bent sides of a card's diamond
        middles = (rhombus + np.roll(rhombus, -1, axis=0)) / 2 * generator.uniform(0.86, 0.96)
        rhombus = np.stack([rhombus, middles], axis=1).reshape(-1, 2)
    return [rhombus]


def _heart(generator: Generator | None) -> Contours:
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    form = 0 if generator is None else generator.integers(3)
    if form == 0:  # the parametric heart
        y = 13 * np.cos(angle) - 5 * np.cos(2 * angle) - 2 * np.cos(3 * angle) - np.cos(4 * angle)
        return [np.stack([16 * np.sin(angle) ** 3, -y], axis=1)]
    assert generator is not None
    if form == 1:  # two circles over a triangle
        apart, tip = generator.uniform(0.7, 1.0), generator.uniform(1.5, 2.3)
        return [_two_circles_over_a_point(apart, tip)]
    depth, belly = generator.uniform(0.15, 0.45), generator.uniform(0.2, 0.7)
    half = _bezier((0, -0.75 + depth), (0.25, -1.2), (1.15, -1.1), (1.0, -0.25))
    lower = _bezier((1.0, -0.25), (0.95, belly - 0.1), (0.35, belly + 0.2), (0, 1.1))
    right = np.concatenate([half, lower[1:]])
    return [np.concatenate([right, (right * np.array([-1, 1]))[-2:0:-1]])]


def _two_circles_over_a_point(apart: float, tip: float) -> np.ndarray:
    """Return the outline of two unit circles, with centers `2 * apart` from each other and tangents to (0, `tip`)."""
    reach = np.hypot(apart, tip)
    # Angle, at the center of the right circle, of the point that the tangent from the tip touches.
    touch = np.arctan2(tip, -apart) - np.arccos(1 / reach)
    cleft = -np.pi + np.arccos(apart)
    angle = np.linspace(cleft, touch, 30)
    right = np.stack([apart + np.cos(angle), np.sin(angle)], axis=1)
    left = (right * np.array([-1, 1]))[::-1]
    return np.concatenate([right, [[0.0, tip]], left[:-1]])


def _bezier(*points: tuple[float, float]) -> np.ndarray:
    """Return a cubic Bezier curve of 16 points, by its four control points."""
    t = np.linspace(0, 1, 16)[:, None]
    first, second, third, fourth = (np.array(point) for point in points)
    return np.asarray((1 - t) ** 3 * first + 3 * t * (1 - t) ** 2 * second + 3 * t**2 * (1 - t) * third + t**3 * fourth)


def _regular(corners: int) -> np.ndarray:
    """Return a regular polygon of radius 1 with a corner at the top."""
    angle = np.arange(corners) * (2 * np.pi / corners)
    return np.stack([np.sin(angle), -np.cos(angle)], axis=1)


def _pointed(points: int, inner: float) -> np.ndarray:
    """Return a star of radius 1 whose inner corners lie at the radius `inner`."""
    star = _regular(2 * points)
    star[1::2] *= inner
    return star


def _turn(shape: str, generator: Generator) -> float:
    """Draw an angle in degrees, within the limits in which a turned shape keeps its name."""
    upright = generator.random() < 0.6
    limit = _UPRIGHT_TURN[shape] if upright else _TURN[shape]
    return float(generator.uniform(-limit, limit))


def _rotation(degrees: float) -> np.ndarray:
    radians = np.deg2rad(degrees)
    return np.array([[np.cos(radians), -np.sin(radians)], [np.sin(radians), np.cos(radians)]])


def _in_perspective(drawn: Contours, generator: Generator) -> Contours:
    """Distort contours in -1..1 a little, as a view from the side does."""
    shear = np.array([[1.0, generator.uniform(-0.1, 0.1)], [generator.uniform(-0.1, 0.1), 1.0]])
    vanishing = generator.uniform(-0.14, 0.14, 2)
    return [contour @ shear.T / (1 + contour @ vanishing)[:, None] for contour in drawn]


def _by_hand(drawn: Contours, generator: Generator) -> Contours:
    """Bend contours in -1..1 by a slow wave, so that they look drawn by hand."""
    waves, phases = generator.normal(0.0, 1.7, (2, 2)), generator.uniform(0, 2 * np.pi, 2)
    strength = generator.uniform(0.01, 0.05)
    fine = [_subdivided(contour) for contour in drawn]
    return [contour + strength * np.sin(contour @ waves + phases) for contour in fine]


def _subdivided(contour: np.ndarray) -> np.ndarray:
    """Add points to the sides of a contour of few points, so that its sides can bend."""
    pieces = max(1, 48 // len(contour))
    steps = np.arange(pieces)[:, None, None] / pieces
    points = contour + steps * (np.roll(contour, -1, axis=0) - contour)
    return np.asarray(points.transpose(1, 0, 2).reshape(-1, 2))


def _fitted(drawn: Contours) -> Contours:
    """Center contours, and scale them so that the longer side of their box is 2."""
    low, high = drawn[0].min(axis=0), drawn[0].max(axis=0)
    return [(contour - (low + high) / 2) * (2 / (high - low).max()) for contour in drawn]


_OUTLINES: Mapping[str, Callable[[Generator | None], Contours]] = MappingProxyType(
    {
        "circle": _circle,
        "square": _square,
        "triangle": _triangle,
        "star": _star,
        "cross": _cross,
        "ring": _ring,
        "diamond": _diamond,
        "heart": _heart,
    }
)

# Largest stretch, and largest rotation in degrees, with which a shape keeps its name.
_STRETCH = MappingProxyType(
    dict.fromkeys(_OUTLINES, 0.1) | {"circle": 0.06, "square": 0.06, "diamond": 0.04, "ring": 0.09}
)
_TURN = MappingProxyType(dict.fromkeys(_OUTLINES, 180.0) | {"square": 20.0, "diamond": 11.0})
_UPRIGHT_TURN = MappingProxyType(dict.fromkeys(_OUTLINES, 5.0) | {"square": 2.0, "diamond": 2.0, "heart": 12.0})

SHAPES = tuple(_OUTLINES)
"""Names of the eight shapes."""
