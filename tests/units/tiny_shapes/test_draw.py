"""Drawings: reproducible, varied, and showing what they say."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder.tiny_shapes._colours import SHADES, contrasting, distance, shade
from clip_image_encoder.tiny_shapes._shapes import contours
from clip_image_encoder.tiny_shapes.draw import COLOURS, HELD_OUT, SHAPES, Scene, draw, random_scene, random_scenes

PAIRS = [(colour, shape) for colour in COLOURS for shape in SHAPES]


def nearest_colour(rgb: tuple[int, int, int]) -> str:
    """The colour term one of whose listed shades is nearest."""
    return min(SHADES, key=lambda colour: min(distance(rgb, listed) for listed in SHADES[colour]))


class TestNames:
    """The words that pictures are drawn from."""

    def test_eleven_colours_and_eight_shapes(self) -> None:
        """The basic colour terms of English, and the eight shapes."""
        colours = {"black", "white", "red", "green", "yellow", "blue", "brown", "orange", "pink", "purple", "grey"}
        assert set(COLOURS) == colours
        assert set(SHAPES) == {"circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart"}

    def test_held_out_pairs_cover_every_colour_and_every_shape(self) -> None:
        """Each name is tested in a pair that training never saw, and still seen in most of its others."""
        assert {colour for colour, _ in HELD_OUT} == set(COLOURS)
        assert {shape for _, shape in HELD_OUT} == set(SHAPES)
        assert len(set(HELD_OUT)) == len(HELD_OUT) == 12

    @pytest.mark.parametrize("wrong", [{"colour": "teal"}, {"shape": "hexagon"}, {"background": "beige"}])
    def test_an_unknown_name_is_refused(self, wrong: dict[str, str]) -> None:
        """The error names what was given."""
        with pytest.raises(ValueError, match=next(iter(wrong.values()))):
            Scene(**({"colour": "red", "shape": "circle"} | wrong))  # type: ignore[arg-type]

    def test_a_textbook_drawing_needs_the_name_of_its_background(self) -> None:
        """Nothing would decide what the backdrop looks like."""
        with pytest.raises(ValueError, match="background"):
            Scene(colour="red", shape="circle", background=None)


class TestReproducible:
    """The same seed, the same pictures."""

    def test_a_scene_always_gives_the_same_picture(self) -> None:
        """Drawing twice changes nothing."""
        for scene in random_scenes(20, seed=1):
            assert draw(scene).tobytes() == draw(scene).tobytes()

    def test_a_seed_always_gives_the_same_scenes(self) -> None:
        """And another seed gives others."""
        assert list(random_scenes(5, seed=1)) == list(random_scenes(5, seed=1))
        assert list(random_scenes(5, seed=1)) != list(random_scenes(5, seed=2))

    def test_the_first_scenes_do_not_depend_on_how_many_follow(self) -> None:
        """A longer run begins like a shorter one."""
        assert list(random_scenes(9, seed=1))[:5] == list(random_scenes(5, seed=1))


class TestPictures:
    """What a picture looks like."""

    @pytest.mark.parametrize(("colour", "shape"), PAIRS)
    def test_a_textbook_drawing_shows_the_pure_colour_in_the_shape(self, colour: str, shape: str) -> None:
        """In the middle; in the band of a ring, whose hole shows the background."""
        background = "white" if colour != "white" else "black"
        image = draw(Scene(colour=colour, shape=shape, background=background, canvas=(100, 100)))
        inside = (50, 50) if shape != "ring" else (50, 28)
        assert image.getpixel(inside) == SHADES[colour][0]
        assert image.getpixel((2, 2)) == SHADES[background][0]
        if shape == "ring":
            assert image.getpixel((50, 50)) == SHADES[background][0]

    @pytest.mark.parametrize("shape", sorted(set(SHAPES) - {"ring"}))
    def test_a_varied_drawing_shows_its_colour_in_the_middle_of_the_shape(self, shape: str) -> None:
        """Whatever light, grain and shade: people would still name the colour so. A few in the dusk may differ."""
        right = 0
        pairs = [(colour, shape) for colour in COLOURS]
        scenes = list(random_scenes(110, seed=4, pairs=pairs, canvas=(128, 128)))
        for scene in scenes:
            image = draw(scene)
            x, y = (np.array(scene.centre) * 128).tolist()
            near = image.crop((round(x) - 1, round(y) - 1, round(x) + 2, round(y) + 2))
            red, green, blue = np.asarray(near).reshape(-1, 3).mean(axis=0).tolist()
            right += nearest_colour((round(red), round(green), round(blue))) == scene.colour
        assert right >= 0.85 * len(scenes)

    def test_pictures_are_rgb_and_as_large_as_asked(self) -> None:
        """Width first, as Pillow has it."""
        (scene,) = random_scenes(1, seed=0, canvas=(90, 61))
        image = draw(scene)
        assert isinstance(image, Image.Image)
        assert (image.mode, image.size) == ("RGB", (90, 61))

    def test_scenes_vary_in_all_that_was_not_asked_for(self) -> None:
        """Asked for blue hearts, they come in many sizes, places, backgrounds and canvases."""
        scenes = list(random_scenes(40, seed=0, pairs=[("blue", "heart")]))
        assert {(scene.colour, scene.shape) for scene in scenes} == {("blue", "heart")}
        for name in ("size", "centre", "canvas", "seed"):
            assert len({getattr(scene, name) for scene in scenes}) > 30
        assert len({scene.background for scene in scenes}) > 5

    def test_colour_and_shape_can_be_asked_for_singly(self) -> None:
        """The other one is left to chance."""
        generator = np.random.default_rng(0)
        stars = [random_scene(generator, shape="star") for _ in range(60)]
        assert {scene.shape for scene in stars} == {"star"}
        assert {scene.colour for scene in stars} == set(COLOURS)

    def test_the_background_never_has_the_colour_of_the_shape(self) -> None:
        """Otherwise there would be nothing to see."""
        assert all(scene.background != scene.colour for scene in random_scenes(300, seed=0))


class TestParts:
    """Shades and contours."""

    @pytest.mark.parametrize("colour", COLOURS)
    def test_any_shade_has_a_contrasting_backdrop(self, colour: str) -> None:
        """At least as far as asked for."""
        generator = np.random.default_rng(0)
        for _ in range(20):
            paint = shade(colour, generator)
            assert distance(paint, contrasting(paint, generator, at_least=40.0)) >= 40.0

    @pytest.mark.parametrize("shape", SHAPES)
    def test_a_contour_fills_its_box(self, shape: str) -> None:
        """The longer side reaches from -1 to 1, the other no further, whatever the form."""
        generator = np.random.default_rng(0)
        for _ in range(50):
            outer = contours(shape, generator)[0]
            assert np.abs(outer).max() == pytest.approx(1.0)
            assert (outer.max(axis=0) + outer.min(axis=0)) == pytest.approx([0.0, 0.0], abs=1e-9)

    def test_only_a_ring_has_a_hole(self) -> None:
        """Its second contour."""
        assert [shape for shape in SHAPES if len(contours(shape)) == 2] == ["ring"]

    def test_drawing_loads_no_torch(self) -> None:
        """Applications draw their demo pictures with Pillow and numpy alone."""
        code = "import sys, clip_image_encoder.tiny_shapes.draw; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
