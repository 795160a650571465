"""The words for an image: what people type who look for it.

A caption names a color, a shape, both, or both and the background or the size. Everything is lower case, since CLIP's
tokenizers ignore case.
"""

import numpy as np

from clip_image_encoder.tiny_shapes.draw import COLORS, SHAPES, Scene

SMALL, LARGE = 0.42, 0.66
"""A shape is called small below the first, and big above the second, as a part of the image's shorter side."""


def caption(color: str, shape: str) -> str:
    """Name a color and a shape, plainly.

    >>> caption("orange", "star")
    'an orange star'
    """
    return f"{_article(color)} {color} {shape}"


def all_captions() -> dict[tuple[str, str], str]:
    """The plain captions of all 88 pairs of color and shape.

    >>> all_captions()["blue", "heart"]
    'a blue heart'
    """
    return {(color, shape): caption(color, shape) for color in COLORS for shape in SHAPES}


def pair_wording(color: str, shape: str, generator: np.random.Generator) -> str:
    """Name a color and a shape in one of many wordings; one in three is the plain one."""
    color, shape = _other_word(color, generator), _other_word(shape, generator)
    if generator.random() < 0.35:
        return caption(color, shape)
    if generator.random() < 0.12:
        return _one_of(PREDICATES, generator).format(color=color, shape=shape)
    return _phrased(f"{color} {shape}", generator)


def color_wording(color: str, generator: np.random.Generator) -> str:
    """Name a color alone."""
    color = _other_word(color, generator)
    if generator.random() < 0.4:
        return color
    if generator.random() < 0.3:
        return f"the colour {color}" if generator.random() < 0.5 else f"the color {color}"
    return _phrased(f"{color} {_one_of(ANYTHING, generator)}", generator)


def shape_wording(shape: str, generator: np.random.Generator) -> str:
    """Name a shape alone."""
    shape = _other_word(shape, generator)
    return shape if generator.random() < 0.4 else _phrased(shape, generator)


def background_wording(scene: Scene, generator: np.random.Generator) -> str:
    """Name a scene's color, shape and plain background.

    Raises:
        ValueError: The scene's background has no name.
    """
    if scene.background is None:
        raise ValueError("the scene's background has no name")
    background = _other_word(scene.background, generator)
    thing = f"{_other_word(scene.color, generator)} {_other_word(scene.shape, generator)}"
    place = _one_of(PLACES, generator).format(a=_article(background), background=background)
    return f"{_phrased(thing, generator)} {place}"


def size_word(scene: Scene) -> str | None:
    """Say "small" or "big" of a scene's shape, or None where people would say neither."""
    return "small" if scene.size < SMALL else "big" if scene.size > LARGE else None


def size_wording(scene: Scene, generator: np.random.Generator) -> str:
    """Name a scene's size, color and shape.

    Raises:
        ValueError: The shape is neither small nor big.
    """
    size = size_word(scene)
    if size is None:
        raise ValueError(f"a shape of size {scene.size:.2f} is neither small nor big")
    word = _one_of(SIZES[size], generator)
    return _phrased(f"{word} {_other_word(scene.color, generator)} {_other_word(scene.shape, generator)}", generator)


PHRASES = (
    *("{a} {thing}", "{thing}", "the {thing}", "one {thing}", "this is {a} {thing}", "there is {a} {thing}"),
    *("a photo of {a} {thing}", "a picture of {a} {thing}", "an image of {a} {thing}", "a drawing of {a} {thing}"),
    *("a photo of the {thing}", "picture of {a} {thing}", "photo of {a} {thing}", "image of {a} {thing}"),
    *("an illustration of {a} {thing}", "a painting of {a} {thing}", "an icon of {a} {thing}", "{a} {thing}."),
    *("a sketch of {a} {thing}", "{thing} icon", "{a} {thing} shape", "a single {thing}", "a simple {thing}"),
    *("a nice {thing}", "a photograph of {a} {thing}", "a drawing of the {thing}", "show me {a} {thing}"),
)
PREDICATES = (
    *("a {shape} that is {color}", "the {shape} is {color}", "a {shape} in {color}", "{shape} in {color}"),
    *("{shape}, {color}", "a {shape} which is {color}", "a {shape} painted {color}", "{shape} {color}"),
    *("a {color}-coloured {shape}", "a {color} colored {shape}", "a {shape} of {color} colour"),
)
PLACES = ("on {a} {background} background", "on {background}", "with {a} {background} background", "over {background}")
ANYTHING = ("shape", "thing", "object", "figure", "form")
SIZES = {"small": ("small", "little", "tiny"), "big": ("big", "large", "huge")}
SYNONYMS = {"grey": "gray", "diamond": "rhombus", "cross": "plus sign"}


def words() -> frozenset[str]:
    """Every word that a caption may hold, without hyphens and stops."""
    texts = [*PHRASES, *PREDICATES, *PLACES, *ANYTHING, *COLORS, *SHAPES, *SYNONYMS.values(), "an color colour"]
    texts += [word for several in SIZES.values() for word in several]
    bare = " ".join(texts).translate(str.maketrans("-.,", "   "))
    return frozenset(word for word in bare.split() if "{" not in word)


def _phrased(thing: str, generator: np.random.Generator) -> str:
    return _one_of(PHRASES, generator).format(a=_article(thing), thing=thing)


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _other_word(word: str, generator: np.random.Generator) -> str:
    return SYNONYMS[word] if word in SYNONYMS and generator.random() < (0.4 if word == "grey" else 0.08) else word


def _one_of(choices: tuple[str, ...], generator: np.random.Generator) -> str:
    return choices[generator.integers(len(choices))]
