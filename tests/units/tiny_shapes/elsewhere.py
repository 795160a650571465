"""Images as somebody else draws them: Pillow's own primitives, CSS color names, a dozen styles.

Shares nothing with the package's drawing code, and training never saw it.
"""

import io
import math
import random
from collections.abc import Callable, Iterator

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageEnhance, ImageFilter

CSS = {
    "black": ["black", "#111111", "#222222"],
    "white": ["white", "snow", "whitesmoke"],
    "red": ["red", "crimson", "#cc0000", "#e53935"],
    "green": ["green", "lime", "forestgreen", "limegreen", "seagreen"],
    "yellow": ["yellow", "gold", "#ffeb3b"],
    "blue": ["blue", "navy", "royalblue", "dodgerblue", "skyblue", "steelblue"],
    "brown": ["brown", "saddlebrown", "sienna", "#6b4226"],
    "orange": ["orange", "darkorange", "#ff7f00"],
    "pink": ["pink", "hotpink", "lightpink", "deeppink"],
    "purple": ["purple", "darkviolet", "rebeccapurple", "indigo", "mediumpurple"],
    "grey": ["grey", "dimgrey", "darkgrey"],
}
GROUNDS = ["white", "black", "lightgrey", "beige", "lightblue", "darkslategrey", "khaki", "navy", "mistyrose", "teal"]
SHAPES = ["circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart"]
Rgb = tuple[int, int, int]


def sample(count: int, seed: int) -> Iterator[tuple[Image.Image, str, str, str]]:
    """Yield images with the names of their color, shape and style; all pairs and styles in turn."""
    dice = random.Random(seed)
    pairs = [(color, shape) for color in CSS for shape in SHAPES]
    dice.shuffle(pairs)
    for number in range(count):
        color, shape = pairs[number % len(pairs)]
        style = list(STYLES)[number % len(STYLES)]
        yield STYLES[style](dice, color, shape), color, shape, style


def _rgb(name: str) -> Rgb:
    red, green, blue = ImageColor.getrgb(name)[:3]
    return red, green, blue


def _far(one: Rgb, other: Rgb) -> bool:
    """Whether two colors are easy to tell apart: their luma or one of their channels differs by a lot."""
    luma = abs(sum(weight * (a - b) for weight, a, b in zip((0.3, 0.59, 0.11), one, other, strict=True)))
    return luma > 55 or max(abs(a - b) for a, b in zip(one, other, strict=True)) > 120


def _ground(dice: random.Random, ink: Rgb) -> Rgb:
    return dice.choice([rgb for rgb in map(_rgb, GROUNDS) if _far(rgb, ink)])


def _at(x: float, y: float, reach: float, angles: list[float], radii: list[float]) -> list[tuple[float, float]]:
    return [
        (x + reach * radius * math.cos(math.radians(angle)), y + reach * radius * math.sin(math.radians(angle)))
        for angle, radius in zip(angles, radii, strict=True)
    ]


def _stamp(dice: random.Random, shape: str, canvas: tuple[int, int], share: float, spin: bool) -> Image.Image:
    """A stencil of the shape, white on black, `share` of the short side across, anywhere it fits."""
    stencil = Image.new("L", canvas, 0)
    pen = ImageDraw.Draw(stencil)
    short = min(canvas)
    r = short * share / 2
    play = (short / 2 - r) * 0.9
    x, y = canvas[0] / 2 + dice.uniform(-play, play), canvas[1] / 2 + dice.uniform(-play, play)
    turn = dice.uniform(0, 360) if spin else 0.0
    if shape == "circle":
        pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
    elif shape == "ring":
        pen.ellipse((x - r, y - r, x + r, y + r), outline=255, width=max(2, round(r * dice.uniform(0.2, 0.5))))
    elif shape == "square":
        tilt = dice.uniform(-15, 15) if spin else 0
        pen.polygon(_at(x, y, r, [45 + tilt, 135 + tilt, 225 + tilt, 315 + tilt], [1.2] * 4), fill=255)
    elif shape == "diamond":
        wide = dice.choice([0.6, 0.75, 1.0])
        pen.polygon([(x, y - r), (x + wide * r, y), (x, y + r), (x - wide * r, y)], fill=255)
    elif shape == "triangle":
        pen.polygon(_at(x, y, r, [turn - 90, turn + 30, turn + 150], [1, 1, 1]), fill=255)
    elif shape == "star":
        spikes = dice.choice([5, 5, 5, 6, 8])
        inner = dice.choice([0.4, 0.5])
        angles = [turn - 90 + 180 / spikes * corner for corner in range(2 * spikes)]
        pen.polygon(_at(x, y, r, angles, [1, inner] * spikes), fill=255)
    elif shape == "cross":
        broad = r * dice.uniform(0.18, 0.38)
        for angle in (turn, turn + 90):
            far = math.degrees(math.atan2(broad, r))
            reach = math.hypot(1, broad / r)
            corners = [angle - far, angle + far, angle + 180 - far, angle + 180 + far]
            pen.polygon(_at(x, y, r, corners, [reach] * 4), fill=255)
    else:
        lean = dice.choice([0, 0, dice.uniform(-40, 40)]) if spin else 0
        if dice.random() < 0.5:
            half = r / 2
            pen.pieslice((x - r, y - 0.9 * r, x, y + 0.1 * r), 150, 360, fill=255)
            pen.ellipse((x - r, y - 0.9 * r, x, y + 0.1 * r), fill=255)
            pen.ellipse((x, y - 0.9 * r, x + r, y + 0.1 * r), fill=255)
            low = y - 0.4 * r + half * 0.42
            pen.polygon([(x - 0.95 * r, low), (x + 0.95 * r, low), (x, y + 0.95 * r)], fill=255)
        else:
            curve = [math.radians(degree) for degree in range(0, 360, 5)]
            pen.polygon(
                [
                    (
                        x + r * math.sin(t) ** 3,
                        y - r / 16 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
                    )
                    for t in curve
                ],
                fill=255,
            )
        stencil = stencil.rotate(lean, Image.Resampling.BICUBIC, center=(x, y))
    return stencil


def _pasted(ground: Image.Image, ink: Rgb, stencil: Image.Image) -> Image.Image:
    ground.paste(ink, (0, 0), stencil)
    return ground


def _stock(
    dice: random.Random, color: str, shape: str, *, side: int | None = None, spin: bool = True
) -> tuple[Rgb, Rgb, Image.Image]:
    """An ink, a ground that it is easy to see on, and a stencil."""
    ink = _rgb(dice.choice(CSS[color]))
    side = side or dice.choice([128, 200, 224, 256, 300])
    return ink, _ground(dice, ink), _stamp(dice, shape, (side, side), dice.uniform(0.25, 0.9), spin)


def _icon(dice: random.Random, color: str, shape: str) -> Image.Image:
    """Pure colors, aliased edges, 64 pixels, on white or black."""
    ink = _rgb(CSS[color][0])
    ground = (255, 255, 255) if _far(ink, (255, 255, 255)) else (0, 0, 0)
    stencil = _stamp(dice, shape, (64, 64), dice.uniform(0.4, 0.9), False)
    return _pasted(Image.new("RGB", stencil.size, ground), ink, stencil)


def _poster(dice: random.Random, color: str, shape: str) -> Image.Image:
    """512 pixels, a plain ground of another color."""
    ink, ground, stencil = _stock(dice, color, shape, side=512)
    return _pasted(Image.new("RGB", stencil.size, ground), ink, stencil)


def _banner(dice: random.Random, color: str, shape: str) -> Image.Image:
    """Wider than high, or higher than wide."""
    ink = _rgb(dice.choice(CSS[color]))
    canvas = dice.choice([(320, 240), (240, 320), (400, 250), (180, 256)])
    stencil = _stamp(dice, shape, canvas, dice.uniform(0.35, 0.85), True)
    return _pasted(Image.new("RGB", canvas, _ground(dice, ink)), ink, stencil)


def _smooth(dice: random.Random, color: str, shape: str) -> Image.Image:
    """Antialiased: drawn at four times the size."""
    ink, ground, stencil = _stock(dice, color, shape, side=640)
    return _pasted(Image.new("RGB", stencil.size, ground), ink, stencil).resize((160, 160), Image.Resampling.LANCZOS)


def _blurred(dice: random.Random, color: str, shape: str) -> Image.Image:
    ink, ground, stencil = _stock(dice, color, shape, side=224)
    return _pasted(Image.new("RGB", stencil.size, ground), ink, stencil).filter(ImageFilter.GaussianBlur(3))


def _sunset(dice: random.Random, color: str, shape: str) -> Image.Image:
    """A gradient from one ground to another."""
    ink, ground, stencil = _stock(dice, color, shape)
    fade = Image.linear_gradient("L").resize(stencil.size)
    other = tuple(round(0.5 * a + 0.5 * b) for a, b in zip(ground, _ground(dice, ink), strict=True))
    other = other if _far((other[0], other[1], other[2]), ink) else ground
    both = Image.composite(Image.new("RGB", stencil.size, other), Image.new("RGB", stencil.size, ground), fade)
    return _pasted(both, ink, stencil)


def _striped(dice: random.Random, color: str, shape: str) -> Image.Image:
    ink, ground, stencil = _stock(dice, color, shape)
    image = Image.new("RGB", stencil.size, ground)
    pen, wide = ImageDraw.Draw(image), stencil.width // dice.randint(6, 16)
    stripe = _ground(dice, ink)
    for start in range(0, stencil.width, 2 * wide):
        pen.rectangle((start, 0, start + wide, stencil.height), fill=stripe)
    return _pasted(image, ink, stencil)


def _chessboard(dice: random.Random, color: str, shape: str) -> Image.Image:
    ink, ground, stencil = _stock(dice, color, shape)
    image = Image.new("RGB", stencil.size, ground)
    pen, cell = ImageDraw.Draw(image), stencil.width // dice.randint(5, 12)
    tile = _ground(dice, ink)
    for row in range(0, stencil.height, cell):
        for column in range(row // cell % 2 * cell, stencil.width, 2 * cell):
            pen.rectangle((column, row, column + cell - 1, row + cell - 1), fill=tile)
    return _pasted(image, ink, stencil)


def _grainy(dice: random.Random, color: str, shape: str) -> Image.Image:
    """Noise over everything, then a lossy JPEG."""
    ink, ground, stencil = _stock(dice, color, shape)
    image = _pasted(Image.new("RGB", stencil.size, ground), ink, stencil)
    bands = []
    for band in image.split():
        random_bytes = dice.randbytes(image.width * image.height)
        noise = Image.frombytes("L", image.size, random_bytes).point([level // 8 for level in range(256)])
        bands.append(ImageChops.add(band, noise, 1.0, -16))
    file = io.BytesIO()
    Image.merge("RGB", bands).save(file, "JPEG", quality=dice.choice([30, 60, 85]))
    return Image.open(file)


def _outlined(dice: random.Random, color: str, shape: str) -> Image.Image:
    """A dark or light rim of a few pixels around the shape."""
    ink, ground, stencil = _stock(dice, color, shape, side=200)
    rim = (255, 255, 255) if color == "black" else (0, 0, 0)
    fat = stencil.filter(ImageFilter.MaxFilter(7))
    return _pasted(_pasted(Image.new("RGB", stencil.size, ground), rim, fat), ink, stencil)


def _shadowed(dice: random.Random, color: str, shape: str) -> Image.Image:
    ink, ground, stencil = _stock(dice, color, shape)
    shadow = ImageChops.offset(stencil, stencil.width // 40, stencil.width // 40).filter(ImageFilter.GaussianBlur(4))
    dark = (ground[0] // 2, ground[1] // 2, ground[2] // 2)
    ground = ground if _far(dark, ink) else (255, 255, 255)
    dark = dark if _far(dark, ink) else (190, 190, 190)
    return _pasted(_pasted(Image.new("RGB", stencil.size, ground), dark, shadow), ink, stencil)


def _photographed(dice: random.Random, color: str, shape: str) -> Image.Image:
    """A blotchy, defocused surface, a little too light or too dark."""
    ink, ground, stencil = _stock(dice, color, shape)
    blotches = Image.frombytes("L", (12, 12), dice.randbytes(144)).resize(stencil.size, Image.Resampling.BICUBIC)
    shade = (round(ground[0] * 0.8), round(ground[1] * 0.8), round(ground[2] * 0.8))
    shade = shade if _far(shade, ink) else ground
    surface = Image.composite(Image.new("RGB", stencil.size, shade), Image.new("RGB", stencil.size, ground), blotches)
    image = _pasted(surface, ink, stencil.filter(ImageFilter.GaussianBlur(1)))
    return ImageEnhance.Contrast(ImageEnhance.Brightness(image).enhance(dice.uniform(0.92, 1.08))).enhance(0.9)


STYLES: dict[str, Callable[[random.Random, str, str], Image.Image]] = {
    "icon": _icon,
    "poster": _poster,
    "banner": _banner,
    "smooth": _smooth,
    "blurred": _blurred,
    "sunset": _sunset,
    "striped": _striped,
    "chessboard": _chessboard,
    "grainy": _grainy,
    "outlined": _outlined,
    "shadowed": _shadowed,
    "photographed": _photographed,
    "small": lambda dice, color, shape: _pasted(
        Image.new("RGB", (128, 128), _ground(dice, _rgb(CSS[color][0]))),
        _rgb(CSS[color][0]),
        _stamp(dice, shape, (128, 128), 0.24, False),
    ),
}
