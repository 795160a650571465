"""Raw photos of cameras: refused by name, developed, or their preview taken, as the loader says."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder import (
    ConfigurationError,
    CorruptImageError,
    ImageEncoder,
    ImageError,
    ImageLoader,
    ImageTooLargeError,
    MissingExtraError,
    UnsupportedImageError,
)
from clip_image_encoder._fingerprint import describe_component
from clip_image_encoder.testing import ToyBackend
from tests.units.images.raw_files import jpeg, raw_photo

DEVELOPS = ImageLoader(raw_photos="develop")
TAKES_PREVIEWS = ImageLoader(raw_photos="preview")
READERS = (DEVELOPS, TAKES_PREVIEWS)

# First bytes of raw photos that are no TIFFs.
SIGNATURES = {
    "CR3": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom",
    "CRW": b"II\x1a\0\0\0HEAPCCDR",
    "MRW": b"\0MRM",
    "ORF": b"IIRO\x08\0\0\0",
    "RAF": b"FUJIFILMCCD-RAW 0201",
    "RW2": b"IIU\0\x18\0\0\0",
    "X3F": b"FOVb",
}


@pytest.fixture(scope="module")
def scene() -> Image.Image:
    """Four colors in four corners."""
    corners = np.array([[[200, 60, 50], [60, 180, 70]], [[50, 70, 190], [230, 230, 230]]], np.uint8)
    return Image.fromarray(np.repeat(np.repeat(corners, 96, axis=0), 128, axis=1))


def corners_of(image: Image.Image) -> np.ndarray[Any, Any]:
    """Return the colors in the middle of the four quarters, each by its share of the three channels."""
    width, height = image.size
    places = [(width // 4, height // 4), (3 * width // 4, height // 4)]
    places += [(width // 4, 3 * height // 4), (3 * width // 4, 3 * height // 4)]
    colors = np.array([image.getpixel(place) for place in places], float)
    shares: np.ndarray[Any, Any] = colors / colors.sum(axis=1, keepdims=True)
    return shares


def assert_shows(image: Image.Image, scene: Image.Image) -> None:
    assert image.mode == "RGB"
    np.testing.assert_allclose(corners_of(image), corners_of(scene), atol=0.05)


def test_a_raw_photo_is_refused_by_name_with_what_reads_it(scene: Image.Image) -> None:
    with pytest.raises(UnsupportedImageError, match=r"raw photo .*raw_photos='develop'"):
        ImageLoader()(raw_photo(scene, preview=jpeg(scene)))


@pytest.mark.parametrize("name", SIGNATURES)
def test_raw_photos_that_are_no_tiffs_are_refused_by_name(name: str) -> None:
    with pytest.raises(UnsupportedImageError, match="raw photo"):
        ImageLoader()(SIGNATURES[name] + bytes(1000))


@pytest.mark.parametrize("loader", READERS)
@pytest.mark.parametrize("name", SIGNATURES)
def test_what_is_a_raw_photo_by_its_first_bytes_only_is_an_image_error(name: str, loader: ImageLoader) -> None:
    with pytest.raises(ImageError):
        loader(SIGNATURES[name] + bytes(1000))


def test_a_developed_photo_has_the_colors_of_the_scene(scene: Image.Image) -> None:
    image = DEVELOPS(raw_photo(scene))
    assert image.size == scene.size
    assert_shows(image, scene)


def test_every_way_in_gives_the_same_developed_photo(ways_in: Callable[[bytes], dict[str, Any]]) -> None:
    # Of the model's size, too, where it is developed at half its own.
    photo = raw_photo(Image.fromarray(np.random.default_rng(3).integers(0, 256, (100, 120, 3), dtype=np.uint8)))
    for size in (None, (8, 8)):
        expected = DEVELOPS(photo, model_size=size)
        for name, item in ways_in(photo).items():
            if name != "loaded PIL image":  # of the thumbnail, which is refused
                assert DEVELOPS(item, model_size=size) == expected, name


def test_big_photos_are_developed_at_half_their_size_where_that_is_enough(scene: Image.Image) -> None:
    photo = raw_photo(scene)  # 256 x 192
    assert DEVELOPS(photo, model_size=(32, 32)).size == (128, 96)
    assert DEVELOPS(photo, model_size=(33, 33)).size == (256, 192)
    assert ImageLoader(raw_photos="develop", exact=True)(photo, model_size=(32, 32)).size == (256, 192)
    assert_shows(DEVELOPS(photo, model_size=(32, 32)), scene)


@pytest.mark.parametrize("loader", READERS)
@pytest.mark.parametrize(
    ("orientation", "method"),
    [(3, Image.Transpose.ROTATE_180), (6, Image.Transpose.ROTATE_270), (8, Image.Transpose.ROTATE_90)],
)
def test_the_orientation_is_applied_once(
    orientation: int, method: Image.Transpose, loader: ImageLoader, scene: Image.Image
) -> None:
    image = loader(raw_photo(scene, orientation=orientation, preview=jpeg(scene)))
    assert image.getexif() == {}
    assert image.size == scene.transpose(method).size
    assert_shows(image, scene.transpose(method))


def test_the_orientation_of_a_preview_that_has_its_own_is_applied_once(scene: Image.Image) -> None:
    image = TAKES_PREVIEWS(raw_photo(scene, orientation=6, preview=jpeg(scene, orientation=6)))
    assert_shows(image, scene.transpose(Image.Transpose.ROTATE_270))


def test_a_preview_is_what_the_camera_has_made(scene: Image.Image) -> None:
    other = Image.new("RGB", scene.size, (10, 200, 30))
    assert TAKES_PREVIEWS(raw_photo(scene, preview=jpeg(other))) == ImageLoader()(jpeg(other))


def test_a_preview_that_is_not_of_full_size_is_taken_where_it_has_three_times_the_models(scene: Image.Image) -> None:
    photo = raw_photo(scene, preview=jpeg(scene.resize((128, 96))))
    assert TAKES_PREVIEWS(photo, model_size=(32, 32)).size == (128, 96)
    with pytest.raises(UnsupportedImageError, match=r"128 x 96 pixels, too few of 256 x 192"):
        TAKES_PREVIEWS(photo, model_size=(33, 33))
    with pytest.raises(UnsupportedImageError, match="too few"):
        TAKES_PREVIEWS(photo)
    with pytest.raises(UnsupportedImageError, match="too few"):
        ImageLoader(raw_photos="preview", exact=True)(photo, model_size=(32, 32))


def test_the_thumbnail_alone_is_no_preview(scene: Image.Image) -> None:
    # Of 16 x 12 pixels, which is more than three times a model's side of 4.
    with pytest.raises(UnsupportedImageError, match=r"16 x 12 pixels, too few of 256 x 192"):
        TAKES_PREVIEWS(raw_photo(scene))
    assert TAKES_PREVIEWS(raw_photo(scene), model_size=(4, 4)).size == (16, 12)


@pytest.mark.parametrize("loader", READERS)
def test_other_files_are_read_as_ever(loader: ImageLoader, scene: Image.Image) -> None:
    tiff = io.BytesIO()
    scene.save(tiff, "TIFF")
    for data in (tiff.getvalue(), jpeg(scene)):
        assert loader(data) == ImageLoader()(data)


@pytest.mark.parametrize("loader", READERS)
def test_a_photo_is_read_whatever_other_formats_are(loader: ImageLoader, scene: Image.Image) -> None:
    photo = raw_photo(scene, preview=jpeg(scene))
    assert_shows(ImageLoader(raw_photos=loader.raw_photos, formats=("PNG",))(photo), scene)


def test_the_limit_of_pixels_holds_for_the_sensor(scene: Image.Image) -> None:
    photo = raw_photo(scene)  # 49,152 pixels
    ImageLoader(raw_photos="develop", max_pixels=49_152)(photo, model_size=(32, 32))
    # In full, a pixel counts for 1.9.
    with pytest.raises(ImageTooLargeError, match="cost as much as"):
        ImageLoader(raw_photos="develop", max_pixels=49_152)(photo)
    with pytest.raises(ImageTooLargeError, match="256 x 192 pixels"):
        ImageLoader(raw_photos="develop", max_pixels=49_151)(photo, model_size=(32, 32))


def test_a_photo_that_claims_to_be_huge_is_refused_before_it_is_developed(scene: Image.Image) -> None:
    with pytest.raises(ImageTooLargeError, match="60000 x 60000"):
        DEVELOPS(raw_photo(scene, claimed=(60_000, 60_000)))


def test_pixels_that_are_stretched_count_for_more(scene: Image.Image) -> None:
    stretched = raw_photo(scene, stretched=(1, 10))
    assert DEVELOPS(stretched).size == (256, 1920)
    with pytest.raises(ImageTooLargeError, match="cost as much as"):
        ImageLoader(raw_photos="develop", max_pixels=900_000)(stretched)


def test_the_limit_of_pixels_holds_for_a_preview(scene: Image.Image) -> None:
    with pytest.raises(ImageTooLargeError, match="256 x 192"):
        ImageLoader(raw_photos="preview", max_pixels=40_000)(raw_photo(scene, preview=jpeg(scene)))


@pytest.mark.parametrize("loader", READERS)
def test_the_limit_of_bytes_holds(loader: ImageLoader, scene: Image.Image) -> None:
    with pytest.raises(ImageTooLargeError, match="max_bytes"):
        ImageLoader(raw_photos=loader.raw_photos, max_bytes=1000)(raw_photo(scene, preview=jpeg(scene)))


def test_samples_that_are_cut_short_are_damage(scene: Image.Image) -> None:
    # The tags claim more rows than the file has samples for.
    with pytest.raises(CorruptImageError, match="damaged or cut short"):
        DEVELOPS(raw_photo(scene, claimed=(256, 1920)))


@pytest.mark.parametrize("loader", READERS)
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.99])
def test_a_photo_whose_end_is_missing_is_damage(part: float, loader: ImageLoader, scene: Image.Image) -> None:
    photo = raw_photo(scene, preview=jpeg(scene))
    with pytest.raises(CorruptImageError):
        loader(photo[: int(part * len(photo))])


def test_tags_that_point_beyond_the_end_are_damage(scene: Image.Image) -> None:
    photo = raw_photo(scene)
    kind_of_image = struct.pack("<HHI", 254, 4, 1)
    with pytest.raises(CorruptImageError):
        DEVELOPS(photo.replace(kind_of_image, struct.pack("<HHI", 254, 4, 2**31)))


def test_a_damaged_preview_is_damage(scene: Image.Image) -> None:
    preview = jpeg(scene)
    with pytest.raises(CorruptImageError):
        TAKES_PREVIEWS(raw_photo(scene, preview=preview[:-200] + bytes(200)))


def test_where_rawpy_is_missing_the_loader_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("clip_image_encoder.images.decoding.raw.find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'clip-image-encoder\[raw\]'"):
        ImageLoader(raw_photos="preview")
    ImageLoader()


def test_a_wrong_word_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="'refuse', 'develop' or 'preview'"):
        ImageLoader(raw_photos="yes")  # type: ignore[arg-type]  # as a user might try


def test_only_loaders_that_read_raw_photos_have_another_fingerprint() -> None:
    described = [describe_component(loader) for loader in (ImageLoader(), *READERS)]
    assert len(set(described)) == 3
    assert "raw_photos" not in described[0]


def test_a_raw_photo_has_its_vector_among_those_of_others(scene: Image.Image) -> None:
    encoder = ImageEncoder(backend=ToyBackend(), loader=DEVELOPS)
    vectors = encoder.encode([jpeg(scene), raw_photo(scene)])
    assert vectors[0] @ vectors[1] > 0.99


# A parent that has developed a photo on a thread of OpenMP's would leave its child waiting for that thread.
_FORKS = """
import os, sys
from pathlib import Path
from clip_image_encoder import ImageLoader

loader, photo = ImageLoader(raw_photos="develop"), Path(sys.argv[1]).read_bytes()
loader(photo)
child = os.fork()
if child == 0:
    loader(photo)
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="rawpy has OpenMP in its wheels for Linux")
def test_a_forked_process_develops_too(scene: Image.Image, tmp_path: Path) -> None:
    (tmp_path / "photo.dng").write_bytes(raw_photo(scene))
    command = [sys.executable, "-c", _FORKS, str(tmp_path / "photo.dng")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "7\n"
