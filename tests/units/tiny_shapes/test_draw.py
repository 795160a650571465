"""Drawings: reproducible, varied, and showing what they say."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder.tiny_shapes._colors import SHADES, contrasting, distance, shade
from clip_image_encoder.tiny_shapes._shapes import contours
from clip_image_encoder.tiny_shapes.draw import COLORS, HELD_OUT, SHAPES, Scene, draw, random_scene, random_scenes

PAIRS = [(color, shape) for color in COLORS for shape in SHAPES]


def nearest_color(rgb: tuple[int, int, int]) -> str:
    """The color term one of whose listed shades is nearest."""
    return min(SHADES, key=lambda color: min(distance(rgb, listed) for listed in SHADES[color]))


class TestNames:
    """The words that images are drawn from."""

    def test_eleven_colors_and_eight_shapes(self) -> None:
        """The basic color terms of English, and the eight shapes."""
        colors = {"black", "white", "red", "green", "yellow", "blue", "brown", "orange", "pink", "purple", "grey"}
        assert set(COLORS) == colors
        assert set(SHAPES) == {"circle", "square", "triangle", "star", "cross", "ring", "diamond", "heart"}

    def test_held_out_pairs_cover_every_color_and_every_shape(self) -> None:
        """Each name is tested in a pair that training never saw, and still seen in most of its others."""
        assert {color for color, _ in HELD_OUT} == set(COLORS)
        assert {shape for _, shape in HELD_OUT} == set(SHAPES)
        assert len(set(HELD_OUT)) == len(HELD_OUT) == 12

    @pytest.mark.parametrize("wrong", [{"color": "teal"}, {"shape": "hexagon"}, {"background": "beige"}])
    def test_an_unknown_name_is_refused(self, wrong: dict[str, str]) -> None:
        """The error names what was given."""
        with pytest.raises(ValueError, match=next(iter(wrong.values()))):
            Scene(**({"color": "red", "shape": "circle"} | wrong))  # type: ignore[arg-type]

    def test_a_textbook_drawing_needs_the_name_of_its_background(self) -> None:
        """Nothing would decide what the backdrop looks like."""
        with pytest.raises(ValueError, match="background"):
            Scene(color="red", shape="circle", background=None)


class TestReproducible:
    """The same seed, the same images."""

    def test_a_scene_always_gives_the_same_image(self) -> None:
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
    """What an image looks like."""

    @pytest.mark.parametrize(("color", "shape"), PAIRS)
    def test_a_textbook_drawing_shows_the_pure_color_in_the_shape(self, color: str, shape: str) -> None:
        """In the middle; in the band of a ring, whose hole shows the background."""
        background = "white" if color != "white" else "black"
        image = draw(Scene(color=color, shape=shape, background=background, canvas=(100, 100)))
        inside = (50, 50) if shape != "ring" else (50, 28)
        assert image.getpixel(inside) == SHADES[color][0]
        assert image.getpixel((2, 2)) == SHADES[background][0]
        if shape == "ring":
            assert image.getpixel((50, 50)) == SHADES[background][0]

    @pytest.mark.parametrize("shape", sorted(set(SHAPES) - {"ring"}))
    def test_a_varied_drawing_shows_its_color_in_the_middle_of_the_shape(self, shape: str) -> None:
        """Whatever light, grain and shade: people would still name the color so. A few in the dusk may differ."""
        right = 0
        pairs = [(color, shape) for color in COLORS]
        scenes = list(random_scenes(110, seed=4, pairs=pairs, canvas=(128, 128)))
        for scene in scenes:
            image = draw(scene)
            x, y = (np.array(scene.centre) * 128).tolist()
            near = image.crop((round(x) - 1, round(y) - 1, round(x) + 2, round(y) + 2))
            red, green, blue = np.asarray(near).reshape(-1, 3).mean(axis=0).tolist()
            right += nearest_color((round(red), round(green), round(blue))) == scene.color
        assert right >= 0.85 * len(scenes)

    def test_images_are_rgb_and_as_large_as_asked(self) -> None:
        """Width first, as Pillow has it."""
        (scene,) = random_scenes(1, seed=0, canvas=(90, 61))
        image = draw(scene)
        assert isinstance(image, Image.Image)
        assert (image.mode, image.size) == ("RGB", (90, 61))

    def test_scenes_vary_in_all_that_was_not_asked_for(self) -> None:
        """Asked for blue hearts, they come in many sizes, places, backgrounds and canvases."""
        scenes = list(random_scenes(40, seed=0, pairs=[("blue", "heart")]))
        assert {(scene.color, scene.shape) for scene in scenes} == {("blue", "heart")}
        for name in ("size", "centre", "canvas", "seed"):
            assert len({getattr(scene, name) for scene in scenes}) > 30
        assert len({scene.background for scene in scenes}) > 5

    def test_color_and_shape_can_be_asked_for_singly(self) -> None:
        """The other one is left to chance."""
        generator = np.random.default_rng(0)
        stars = [random_scene(generator, shape="star") for _ in range(60)]
        assert {scene.shape for scene in stars} == {"star"}
        assert {scene.color for scene in stars} == set(COLORS)

    def test_the_background_never_has_the_color_of_the_shape(self) -> None:
        """Otherwise there would be nothing to see."""
        assert all(scene.background != scene.color for scene in random_scenes(300, seed=0))


class TestParts:
    """Shades and contours."""

    @pytest.mark.parametrize("color", COLORS)
    def test_any_shade_has_a_contrasting_backdrop(self, color: str) -> None:
        """At least as far as asked for."""
        generator = np.random.default_rng(0)
        for _ in range(20):
            paint = shade(color, generator)
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
        """Applications draw their demo images with Pillow and numpy alone."""
        code = "import sys, clip_image_encoder.tiny_shapes.draw; sys.exit('torch' in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
