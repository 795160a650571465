"""Random images of one colored shape each, which differ in everything that a caption does not name.

>>> for scene in random_scenes(2, seed=3):
...     image = draw(scene)
...     print(scene.color, scene.shape, image.size)
pink circle (188, 198)
pink star (222, 302)
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from . import _backdrops
from ._colors import COLORS, RGB, SHADES, as_rgb, contrasting, distance, shade
from ._shapes import SHAPES, Contours, contours

__all__ = ["COLORS", "HELD_OUT", "SHAPES", "Scene", "draw", "random_scene", "random_scenes", "silhouette"]

HELD_OUT: tuple[tuple[str, str], ...] = (
    ("black", "star"),
    ("white", "heart"),
    ("red", "square"),
    ("green", "ring"),
    ("yellow", "triangle"),
    ("blue", "diamond"),
    ("brown", "circle"),
    ("orange", "cross"),
    ("pink", "star"),
    ("purple", "circle"),
    ("grey", "heart"),
    ("blue", "triangle"),
)
"""Pairs of color and shape that the checkpoint was not trained on."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The description of an image of one shape.

    Attributes:
        color: Color of the shape, one of `COLORS`.
        shape: Name of the shape, one of `SHAPES`.
        background: Color of a plain background, one of `COLORS`; None draws a random background.
        size: Longer side of the shape's box, as a fraction of the image's shorter side.
        centre: Center `(x, y)` of that box, as fractions of the image's central square, 0..1.
        canvas: Size `(width, height)` of the image in pixels.
        seed: Seed of everything else: shade and form, rotation, edges, light, noise. None draws the plain form: pure
            colors, upright, with nothing added.

    Raises:
        ValueError: A color or shape is unknown, or both the background and the seed are None.

    >>> draw(Scene(color="red", shape="circle")).getpixel((112, 112))
    (255, 0, 0)
    """

    color: str
    shape: str
    background: str | None = "white"
    size: float = 0.6
    centre: tuple[float, float] = (0.5, 0.5)
    canvas: tuple[int, int] = (224, 224)
    seed: int | None = None

    def __post_init__(self) -> None:
        """Check the names."""
        if self.color not in COLORS or self.background not in (*COLORS, None):
            raise ValueError(f"colors are {', '.join(COLORS)}; got {self.color!r} on {self.background!r}")
        if self.shape not in SHAPES:
            raise ValueError(f"shapes are {', '.join(SHAPES)}; got {self.shape!r}")
        if self.background is None and self.seed is None:
            raise ValueError("a scene without a seed needs the name of its background color")


def random_scene(
    generator: np.random.Generator,
    *,
    color: str | None = None,
    shape: str | None = None,
    canvas: tuple[int, int] | None = None,
    smallest: float = 0.34,
) -> Scene:
    """Return a random scene.

    Args:
        generator: Source of the random numbers; the same state gives the same scene.
        color: Color of the shape, one of `COLORS`; None chooses one.
        shape: Name of the shape, one of `SHAPES`; None chooses one.
        canvas: Size `(width, height)` of the image in pixels; None chooses 160 to 320 for each.
        smallest: Smallest size of the shape, as a fraction of the image's shorter side.

    Returns:
        A scene whose shape stands out from its background.
    """
    color = color or COLORS[generator.integers(len(COLORS))]
    shape = shape or SHAPES[generator.integers(len(SHAPES))]
    if canvas is None:
        width, height = (int(side) for side in generator.integers(160, 321, 2))
        canvas = (width, height)
    size = float(generator.uniform(smallest, 0.95))
    # A twentieth of the shape's box may lie outside the central square.
    play = 0.5 - size * 0.45
    x, y = (0.5 + generator.uniform(-1, 1, 2) * play * generator.random(2) ** 0.5).tolist()
    others = [name for name in COLORS if name != color]
    background = others[generator.integers(len(others))] if generator.random() < 0.5 else None
    return Scene(
        color=color,
        shape=shape,
        background=background,
        size=size,
        centre=(x, y),
        canvas=canvas,
        seed=int(generator.integers(2**63)),
    )


def random_scenes(
    count: int, *, seed: int = 0, pairs: Sequence[tuple[str, str]] = (), canvas: tuple[int, int] | None = None
) -> Iterator[Scene]:
    """Yield random scenes, the same ones for the same seed.

    Args:
        count: Number of scenes.
        seed: Seed of the random numbers, an integer that is not negative.
        pairs: Pairs of color and shape to choose from; an empty sequence means all 88.
        canvas: Size `(width, height)` of the images in pixels; None chooses 160 to 320 for each side.

    Yields:
        Independent random scenes.
    """
    generator = np.random.default_rng(seed)
    for _ in range(count):
        color, shape = pairs[int(generator.integers(len(pairs)))] if pairs else (None, None)
        yield random_scene(generator, color=color, shape=shape, canvas=canvas)


def draw(scene: Scene) -> Image.Image:
    """Draw a scene.

    Returns:
        An RGB image of the size `scene.canvas`; the same scene always gives the same image.
    """
    if scene.seed is None:
        return _textbook(scene)
    generator = np.random.default_rng(scene.seed)
    paint, ground = _paints(scene, generator)
    width, height = scene.canvas
    if scene.background is None:
        canvas = _backdrops.varied(paint, ground, width, height, generator)
        if generator.random() < 0.25:
            canvas = _with_marks(canvas, generator)
    else:
        canvas = _backdrops.plain(ground, width, height)
    placed = _placed(_form(scene), scene)
    mask = _mask(placed, scene, generator)
    if generator.random() < 0.2:
        canvas = _with_shadow(canvas, mask, scene, generator)
    outline = generator.random()
    if outline < 0.12:
        canvas = _with_outline(canvas, placed, paint, scene, generator)
    canvas += (_fill(paint, scene, generator) - canvas) * mask[..., None]
    if outline > 0.88 and scene.shape != "ring":  # an outline on top would hide a thin ring
        canvas = _with_outline(canvas, placed, paint, scene, generator)
    return _photographed(canvas, generator)


def silhouette(scene: Scene) -> Image.Image:
    """Return the mask of the shape in a scene.

    Returns:
        An image of mode L and the size `scene.canvas`, 255 within the shape of `draw(scene)` and 0 around it.
    """
    return Image.fromarray(np.rint(_filled(_placed(_form(scene), scene), scene.canvas, 2) * 255).astype(np.uint8))


def _form(scene: Scene) -> Contours:
    """Return the contours of a scene's shape, from their own generator, so that `silhouette` draws nothing else."""
    return contours(scene.shape, None if scene.seed is None else np.random.default_rng((scene.seed, 1)))


def _textbook(scene: Scene) -> Image.Image:
    """Draw a scene without a seed: pure colors, an upright shape, smooth edges."""
    assert scene.background is not None
    canvas = _backdrops.plain(SHADES[scene.background][0], *scene.canvas)
    mask = _filled(_placed(_form(scene), scene), scene.canvas, 4)
    canvas += (_backdrops.plain(SHADES[scene.color][0], *scene.canvas) - canvas) * mask[..., None]
    return Image.fromarray(np.rint(canvas).astype(np.uint8))


def _paints(scene: Scene, generator: np.random.Generator) -> tuple[RGB, RGB]:
    """Draw a shade for the shape, and one for the background on which it is easy to see."""
    paint = shade(scene.color, generator)
    if scene.background is None:
        return paint, contrasting(paint, generator)
    tries = [(shade(scene.color, generator), shade(scene.background, generator)) for _ in range(6)]
    return next((pair for pair in tries if distance(*pair) > 32.0), max(tries, key=lambda pair: distance(*pair)))


def _placed(unit: Contours, scene: Scene) -> Contours:
    """Scale and move contours from -1..1 to the pixels of a scene."""
    width, height = scene.canvas
    side = min(width, height)
    corner = np.array([width - side, height - side]) / 2
    return [corner + side * (np.array(scene.centre) + scene.size / 2 * contour) for contour in unit]


def _filled(placed: Contours, canvas: tuple[int, int], scale: int) -> np.ndarray:
    """Fill contours, the second one as a hole: `(H, W)` float32 in 0..1, drawn `scale` times as large, then reduced."""
    width, height = canvas
    stencil = Image.new("L", (width * scale, height * scale))
    pencil = ImageDraw.Draw(stencil)
    for contour, level in zip(placed, (255, 0), strict=False):
        pencil.polygon([(x, y) for x, y in (contour * scale).tolist()], fill=level)
    return np.asarray(stencil.reduce(scale) if scale > 1 else stencil, dtype=np.float32) / 255


def _mask(placed: Contours, scene: Scene, generator: np.random.Generator) -> np.ndarray:
    """Fill contours with hard, smooth, rounded or soft edges: `(H, W)` float32 in 0..1."""
    kind = generator.random()
    mask = _filled(placed, scene.canvas, 1 if kind < 0.25 else 3)
    pixels = scene.size * min(scene.canvas)
    if 0.6 < kind < 0.8:  # rounded corners: a blur, then a steep rise around 0.5
        mask = np.clip((_blurred(mask, pixels * generator.uniform(0.01, 0.035)) - 0.5) * 4 + 0.5, 0, 1)
    elif kind >= 0.8:
        mask = _blurred(mask, pixels * generator.uniform(0.01, 0.04))
    return mask


def _blurred(mask: np.ndarray, radius: float) -> np.ndarray:
    image = Image.fromarray(np.rint(mask * 255).astype(np.uint8))
    return np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), dtype=np.float32) / 255


def _fill(paint: RGB, scene: Scene, generator: np.random.Generator) -> np.ndarray:
    """Fill a canvas with a color: evenly, graded or grained, in shades close enough to keep its name."""
    width, height = scene.canvas
    kind = generator.random()
    if kind < 0.5:
        return _backdrops.plain(paint, width, height)
    darker, lighter = generator.uniform(0.8, 1.0), generator.uniform(0.0, 0.12)
    dark, light = as_rgb(np.array(paint) * darker), as_rgb(paint + (255 - np.array(paint)) * lighter)
    if kind < 0.75:
        return _backdrops.mixed(dark, light, _backdrops.ramp(width, height, generator.uniform(0, 2 * np.pi)))
    if kind < 0.88:
        return _backdrops.mixed(
            dark, light, _backdrops.clouds(width, height, int(generator.integers(4, 24)), generator)
        )
    return _backdrops.mixed(dark, light, generator.random((height, width)))


def _with_marks(canvas: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Draw small marks over a background: specks and scratches of random colors."""
    height, width = canvas.shape[:2]
    image = Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))
    pencil = ImageDraw.Draw(image)
    small = 0.05 * min(width, height)
    for _ in range(generator.integers(1, 9)):
        color = tuple(generator.integers(0, 256, 3).tolist())
        x, y = generator.random(2) * (width, height)
        dx, dy = generator.uniform(-small, small, 2)
        if generator.random() < 0.5:
            pencil.line((x, y, x + 3 * dx, y + 3 * dy), fill=color, width=max(1, int(small / 5)))
        else:
            pencil.ellipse((x, y, x + abs(dx), y + abs(dy)), fill=color)
    return np.array(image, dtype=np.float32)


def _with_shadow(canvas: np.ndarray, mask: np.ndarray, scene: Scene, generator: np.random.Generator) -> np.ndarray:
    """Darken a background by the shadow of the shape."""
    pixels = scene.size * min(scene.canvas)
    dx, dy = np.rint(generator.uniform(-0.07, 0.07, 2) * pixels).astype(int).tolist()
    shadow = np.roll(_blurred(mask, pixels * generator.uniform(0.0, 0.05)), (dy, dx), (0, 1))
    return canvas * (1 - generator.uniform(0.2, 0.6) * shadow[..., None])


def _with_outline(
    canvas: np.ndarray, placed: Contours, paint: RGB, scene: Scene, generator: np.random.Generator
) -> np.ndarray:
    """Draw a thin line of another color around a shape."""
    color = generator.choice([(0, 0, 0), (255, 255, 255), contrasting(paint, generator)], p=[0.5, 0.2, 0.3])
    scale = 2
    broad = max(1, round(scale * scene.size * min(scene.canvas) * generator.uniform(0.012, 0.05)))
    line = Image.new("L", (scene.canvas[0] * scale, scene.canvas[1] * scale))
    pencil = ImageDraw.Draw(line)
    for contour in placed:
        closed = np.concatenate([contour, contour[:2]]) * scale
        pencil.line([(x, y) for x, y in closed.tolist()], fill=255, width=broad, joint="curve")
    share = np.asarray(line.reduce(scale), dtype=np.float32)[..., None] / 255
    return np.asarray(canvas + (np.asarray(color, dtype=np.float32) - canvas) * share)


def _photographed(canvas: np.ndarray, generator: np.random.Generator) -> Image.Image:
    """Change light and contrast, blur, add sensor noise and JPEG artifacts, each with some probability."""
    if generator.random() < 0.35:
        contrast, light, tint = generator.uniform(0.88, 1.1), generator.uniform(-12, 12), generator.normal(0, 3, 3)
        canvas = (canvas - 128) * contrast + 128 + light + tint
    if generator.random() < 0.15:
        height, width = canvas.shape[:2]
        side_light = _backdrops.ramp(width, height, generator.uniform(0, 2 * np.pi)) - 0.5
        canvas = canvas * (1 + generator.uniform(0.05, 0.25) * side_light[..., None])
    if generator.random() < 0.25:
        canvas = canvas + generator.normal(0.0, generator.uniform(2, 14), canvas.shape)
    image = Image.fromarray(np.clip(np.rint(canvas), 0, 255).astype(np.uint8))
    if generator.random() < 0.15:
        image = image.filter(ImageFilter.GaussianBlur(generator.uniform(0.3, 0.012 * min(image.size))))
    if generator.random() < 0.25:
        file = io.BytesIO()
        image.save(file, "JPEG", quality=int(generator.integers(30, 96)))
        image = Image.open(file).convert("RGB")
    return image
