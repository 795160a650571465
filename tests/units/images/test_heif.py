"""HEIC and HEIF: the photos of phones."""

from __future__ import annotations

import base64
import io
import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pi_heif
import pillow_heif
import pytest
from PIL import Image, ImageOps

from clip_image_encoder.errors import CorruptImageError, ImageError, ImageTooLargeError, UnsupportedImageError
from clip_image_encoder.images import ImageLoader
from clip_image_encoder.images.listing import images_below
from tests.units.images.heif_files import (
    ALPHA,
    GAIN_MAP,
    Item,
    coded,
    cropped,
    decoder_settings,
    exif,
    grid,
    heif_file,
    mirrored,
    parameter_set,
    size,
    tile,
    turned,
    written,
)

LOSSLESS = {"quality": -1, "chroma": 444, "matrix_coefficients": 0}


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    """96x64 pixels, smooth, no two corners alike."""
    rows, columns = np.mgrid[:64, :96]
    return Image.fromarray(np.dstack([columns * 255 // 95, rows * 255 // 63, 255 - rows - columns]).astype(np.uint8))


@pytest.fixture(scope="module")
def heic(photo: Image.Image) -> bytes:
    return heif_file(coded(photo))


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """What an application does that uses pillow-heif itself; undone afterwards."""
    for table in ("OPEN", "SAVE", "SAVE_ALL", "MIME", "EXTENSION", "ID"):
        monkeypatch.setattr(Image, table, getattr(Image, table).copy())
    pillow_heif.register_heif_opener()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The images that are decoded; each fails."""
    images: list[object] = []

    def load(image: object) -> None:
        images.append(image)
        raise OSError

    monkeypatch.setattr(pi_heif.HeifImageFile, "load", load)
    return images


def difference(image: Image.Image, expected: Image.Image) -> float:
    assert image.size == expected.size
    return float(np.abs(np.asarray(image).astype(int) - np.asarray(expected)).max())


def failure(data: bytes, loader: ImageLoader) -> ImageError:
    with pytest.raises(ImageError) as caught:
        loader(data)
    return caught.value


def test_the_pixels_of_a_lossless_file_come_back(loader: ImageLoader, photo: Image.Image) -> None:
    buffer = io.BytesIO()
    pillow_heif.from_pillow(photo).save(buffer, **LOSSLESS)
    assert difference(loader(buffer.getvalue()), photo) == 0


def test_every_kind_of_input_gives_the_same_image(loader: ImageLoader, heic: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture"
    path.write_bytes(heic)
    expected = loader(heic)
    loaded = pi_heif.HeifImageFile(io.BytesIO(heic))
    loaded.load()
    for item in (
        str(path),
        path,
        bytearray(heic),
        io.BytesIO(heic),
        "data:image/heic;base64," + base64.b64encode(heic).decode(),
        pi_heif.HeifImageFile(io.BytesIO(heic)),
        loaded,
        loaded.copy(),
    ):
        assert difference(loader(item), expected) == 0


@pytest.mark.parametrize("mode", ["RGB", "RGB;16", "RGBA", "RGBA;16", "L", "I;16"])
def test_an_image_of_a_registered_plugin_gives_the_same_image(loader: ImageLoader, registered: None, mode: str) -> None:
    values = np.random.default_rng(1).integers(0, 65536, (64, 96, len(mode.partition(";")[0])), dtype=np.uint16)
    data = written(mode, (96, 64), (values if "16" in mode else (values >> 8).astype(np.uint8)).tobytes())
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "HEIF"
        assert difference(loader(image), loader(data)) == 0


def test_reading_registers_nothing_with_pillow(loader: ImageLoader, heic: bytes) -> None:
    before = dict(Image.OPEN), dict(Image.EXTENSION)
    loader(heic)
    assert before == (Image.OPEN, Image.EXTENSION)


@pytest.mark.parametrize("bits", [10, 12])
@pytest.mark.parametrize("mode", ["RGB;16", "I;16", "RGBA;16"])
def test_deeper_images_are_scaled_to_8_bits(loader: ImageLoader, mode: str, bits: int) -> None:
    ramp = np.tile(np.linspace(0, 65535, 96).astype(np.uint16), (64, 1))
    channels = {"RGB;16": [ramp] * 3, "I;16": [ramp], "RGBA;16": [ramp] * 3 + [np.full_like(ramp, 65535)]}[mode]
    pillow_heif.options.SAVE_HDR_TO_12_BIT = bits == 12
    try:
        data = written(mode, (96, 64), np.dstack(channels).tobytes(), quality=-1, chroma=444)
    finally:
        pillow_heif.options.SAVE_HDR_TO_12_BIT = False
    assert pi_heif.open_heif(data).info["bit_depth"] == bits
    pixels = np.asarray(loader(data)).astype(int)
    assert np.abs(pixels - np.rint(ramp[..., None] / 257)).max() <= 1
    assert pixels.min() == 0
    assert pixels.max() == 255


def test_a_grey_image_is_grey(loader: ImageLoader, photo: Image.Image) -> None:
    grey = photo.convert("L")
    assert difference(loader(heif_file(coded(grey, quality=-1))), grey.convert("RGB")) == 0


@pytest.mark.parametrize("premultiplied", [False, True])
def test_alpha_shows_the_background(photo: Image.Image, premultiplied: bool) -> None:
    mask = Image.linear_gradient("L").resize(photo.size)
    rgba = photo.copy()
    rgba.putalpha(mask)
    colors = Image.composite(photo, Image.new("RGB", photo.size), mask) if premultiplied else photo
    main, alpha = coded(colors, **LOSSLESS), coded(mask, quality=-1).auxiliary_for(1, ALPHA)
    main.properties.append(matrix_of_rgb())
    if premultiplied:
        main.references[b"prem"] = [2]
    expected = Image.alpha_composite(Image.new("RGBA", photo.size, (0, 0, 255, 255)), rgba).convert("RGB")
    image = ImageLoader(background=(0, 0, 255))(heif_file(main, alpha))
    assert difference(image, expected) <= 2


def matrix_of_rgb() -> bytes:
    """Return the property that says that the planes are green, blue and red."""
    return struct.pack(">I8sHHHB", 19, b"colrnclx", 1, 13, 0, 128)


QUARTERS = {1: (0, None), 2: (0, 1), 3: (2, None), 4: (0, 0), 5: (1, 0), 6: (3, None), 7: (1, 1), 8: (1, None)}


@pytest.mark.parametrize("in_exif", [None, "same", 1, 6])
@pytest.mark.parametrize("orientation", QUARTERS)
def test_an_image_is_turned_once_as_its_boxes_say_and_not_its_exif(
    loader: ImageLoader, photo: Image.Image, orientation: int, in_exif: int | str | None
) -> None:
    quarters, axis = QUARTERS[orientation]
    main = coded(photo)
    upright = loader(heif_file(coded(photo)))
    if quarters:
        main.properties.append(turned(quarters))
    if axis is not None:
        main.properties.append(mirrored(axis))
    upright.getexif()[0x112] = orientation
    expected = ImageOps.exif_transpose(upright)
    others = [] if in_exif is None else [exif(1, orientation if in_exif == "same" else int(in_exif))]
    data = heif_file(main, *others)
    assert difference(loader(data), expected) == 0
    assert difference(loader(pi_heif.HeifImageFile(io.BytesIO(data))), expected) == 0


def test_an_image_is_cropped_as_its_box_says(loader: ImageLoader, photo: Image.Image) -> None:
    main = coded(photo)
    whole = loader(heif_file(main))
    main.properties.append(cropped(48, 32))
    assert difference(loader(heif_file(main)), whole.crop((24, 16, 72, 48))) == 0


@pytest.mark.parametrize("primary", [1, 2, 3])
def test_of_a_burst_the_primary_image_is_taken(loader: ImageLoader, primary: int) -> None:
    data = heif_file(*(coded(tile(color)) for color in ("red", "lime", "blue")), primary=primary)
    channels = np.asarray(loader(data))[32, 32]
    assert channels.argmax() == primary - 1
    assert sorted(channels)[1] < 20


def test_of_a_pil_image_the_frame_that_it_shows_is_taken(loader: ImageLoader) -> None:
    image = pi_heif.HeifImageFile(io.BytesIO(heif_file(coded(tile("red")), coded(tile("lime")), primary=2)))
    assert np.asarray(loader(image))[32, 32].argmax() == 1
    image.seek(0)
    assert np.asarray(loader(image))[32, 32].argmax() == 0


def tiled(colors: tuple[str, ...] = ("red", "lime", "blue", "white")) -> list[Item]:
    tiles = [coded(tile(color)) for color in colors]
    for one in tiles:
        one.hidden = True
    return [grid(2, 2, 120, 100, [2, 3, 4, 5]), *tiles]


def test_tiles_are_put_together(loader: ImageLoader) -> None:
    image = loader(heif_file(*tiled()))
    assert image.size == (120, 100)
    corners = np.rint(np.asarray(image)[[5, 5, 95, 95], [5, 115, 5, 115]] / 255)
    assert corners.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]]


def test_gain_maps_and_thumbnails_are_left_alone(loader: ImageLoader, photo: Image.Image, heic: bytes) -> None:
    gain_map = coded(photo.convert("L").resize((64, 64))).auxiliary_for(1, GAIN_MAP)
    assert difference(loader(heif_file(coded(photo), gain_map, thumbnail_of(1, photo))), loader(heic)) == 0
    assert difference(loader(heif_file(thumbnail_of(2, photo), coded(photo), primary=2)), loader(heic)) == 0


def thumbnail_of(number: int, photo: Image.Image) -> Item:
    thumbnail = coded(photo.resize((64, 64)))
    thumbnail.references[b"thmb"] = [number]
    return thumbnail


@pytest.mark.parametrize(
    "brands",
    [b"heic\0\0\0\0heic", b"heix\0\0\0\0mif1heix", b"mif1\0\0\0\0mif1heic", b"msf1\0\0\0\0mif1heic"],
)
def test_the_brands_of_cameras_are_read(loader: ImageLoader, photo: Image.Image, heic: bytes, brands: bytes) -> None:
    assert difference(loader(heif_file(coded(photo), brands=brands)), loader(heic)) == 0


def test_an_avif_of_the_common_brand_stays_an_avif(
    loader: ImageLoader, photo: Image.Image, encode: Callable[..., bytes]
) -> None:
    data = encode(photo, "AVIF")
    assert data[8:12] == b"avif"
    assert difference(loader(data[:8] + b"mif1" + data[12:]), loader(data)) == 0


def test_without_the_extra_the_error_names_it(
    loader: ImageLoader, heic: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    error = failure(heic, loader)
    assert type(error) is UnsupportedImageError
    assert "pip install 'clip-image-encoder[heif]'" in error.reason


def test_without_the_extra_a_registered_plugin_is_used(
    loader: ImageLoader, heic: bytes, monkeypatch: pytest.MonkeyPatch, registered: None
) -> None:
    expected = loader(heic)
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    assert difference(loader(heic), expected) == 0


def test_a_loader_can_be_told_not_to_read_it(heic: bytes) -> None:
    loader = ImageLoader(formats=("JPEG", "PNG"))
    assert "format HEIF is not read" in failure(heic, loader).reason
    with pytest.raises(UnsupportedImageError, match="format HEIF"):
        loader(pi_heif.HeifImageFile(io.BytesIO(heic)))
    assert ImageLoader(formats=("HEIF",))(heic).size == (96, 64)


def test_a_folder_lists_such_photos(tmp_path: Path) -> None:
    names = ["IMG_1.HEIC", "a.heif", "b.hif", "c.png"]
    for name in names:
        (tmp_path / name).touch()
    assert images_below(tmp_path, ImageLoader().formats) == names
    with pytest.warns(UserWarning, match="3 files are left out"):
        assert images_below(tmp_path, ("PNG",)) == ["c.png"]


@pytest.mark.parametrize("tiles", [False, True])
def test_a_file_cut_short_is_never_an_image(loader: ImageLoader, heic: bytes, tiles: bool) -> None:
    # libheif would leave the tiles that are missing black.
    data = heif_file(*tiled()) if tiles else heic
    for length in [*range(12, len(data), max(1, len(data) // 40)), len(data) - 1]:
        assert type(failure(data[:length], loader)) is CorruptImageError


def test_a_damaged_file_is_an_image_error_or_an_image(loader: ImageLoader) -> None:
    data, generator = heif_file(*tiled()), random.Random(0)
    for _ in range(150):
        damaged = bytearray(data)
        for _ in range(generator.randrange(1, 8)):
            damaged[generator.randrange(len(data) if generator.random() < 0.3 else len(data) // 2)] = (
                generator.randrange(256)
            )
        try:
            loader(bytes(damaged))
        except ImageError as error:
            assert len(str(error)) < 400


def test_an_image_that_its_tiles_do_not_cover_is_not_replaced_by_another(loader: ImageLoader) -> None:
    for width in (65, 140):
        picture = grid(1, 1, width, 64, [2])
        assert type(failure(heif_file(picture, coded(tile("red")), coded(tile("white"))), loader)) is CorruptImageError


@pytest.mark.parametrize("kind", [b"av01", b"jpeg", b"unci", b"tmap"])
def test_another_codec_is_unsupported_and_named(loader: ImageLoader, kind: bytes) -> None:
    error = failure(heif_file(Item(kind, b"data", [size(64, 64)])), loader)
    assert type(error) is UnsupportedImageError
    assert repr(kind.decode()) in error.reason


def test_a_sequence_without_a_still_image_is_unsupported(loader: ImageLoader) -> None:
    data = struct.pack(">I", 16) + b"ftyphevc" + bytes(4) + struct.pack(">I", 8) + b"moov"
    assert type(failure(data, loader)) is UnsupportedImageError


def test_the_limit_of_pixels_holds_before_anything_is_decoded(heic: bytes, decoded: list[object]) -> None:
    with pytest.raises(ImageTooLargeError, match="96 x 64 pixels"):
        ImageLoader(max_pixels=96 * 64 - 1)(heic)
    assert decoded == []


def test_pillows_own_limit_holds(loader: ImageLoader, heic: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageTooLargeError, match="MAX_IMAGE_PIXELS"):
        loader(heic)


SLICE = b"\x26\x01\x80"  # the beginning of the first slice of an image
WIDE = decoder_settings(parameter_set(12_000, 12_000))


def with_length(unit: bytes) -> bytes:
    return struct.pack(">I", len(unit)) + unit


def forged(*, settings: bytes = WIDE, data: bytes = with_length(SLICE), width: int = 64, height: int = 64) -> Item:
    return Item(b"hvc1", data, [settings, size(width, height)])


SMALL = decoder_settings(parameter_set(64, 64))
LARGE = decoder_settings(parameter_set(2000, 2000))
OVERLAY = bytes(20)


def sharing(count: int, tiles: int) -> bytes:
    """Return a file with a row of tiles that all have the same data, of so many bytes."""
    first = forged(settings=SMALL, data=with_length(SLICE + bytes(count)))
    picture = grid(1, tiles, 64 * tiles, 64, [*range(2, tiles + 2)])
    others = [Item(b"hvc1", b"", first.properties, place=(0, 0)) for _ in range(tiles - 1)]
    start = heif_file(picture, first, *others).index(first.data)
    for other in others:
        other.place = (start, len(first.data))
    return heif_file(picture, first, *others)


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "size in the box": (lambda: heif_file(forged(width=12_000, height=12_000)), "12000 x 12000 pixels are more"),
    "size in the parameter set alone": (lambda: heif_file(forged()), "to decode"),
    "size in the data alone": (
        lambda: heif_file(forged(settings=SMALL, data=with_length(parameter_set(12_000, 12_000)) + with_length(SLICE))),
        "2 sizes of one image",
    ),
    "tiles far beyond the picture": (
        lambda: heif_file(
            grid(10, 10, 64, 64, [*range(2, 102)]),
            *(forged(settings=LARGE, width=2000, height=2000) for _ in range(100)),
        ),
        "to decode",
    ),
    "large alpha": (lambda: heif_file(coded(tile("red")), forged().auxiliary_for(1, ALPHA)), "to decode"),
    "a chain of pictures each made of two": (
        lambda: heif_file(
            *(Item(b"iovl", OVERLAY, [size(64, 64)], {b"dimg": [next_, next_ + 1]}) for next_ in range(2, 60)),
            coded(tile("red")),
            coded(tile("red")),
        ),
        "too many items",
    ),
    "a picture made of many": (
        lambda: heif_file(Item(b"iovl", OVERLAY, [size(64, 64)], {b"dimg": [2] * 60_000}), coded(tile("red"))),
        "too many items",
    ),
    "a long table": (
        lambda: heif_file(coded(tile("red")), *(Item(b"iovl", b"", [], {b"dimg": [1] * 60_000}) for _ in range(10))),
        "a table is too long",
    ),
    "a picture made of itself": (
        lambda: heif_file(Item(b"iden", b"", [size(64, 64)], {b"dimg": [1]})),
        "too many items",
    ),
    "many pictures in one item": (
        lambda: heif_file(forged(settings=SMALL, data=100 * with_length(SLICE))),
        "100 images in one item",
    ),
    "many units in one item": (
        lambda: heif_file(forged(settings=SMALL, data=100_000 * with_length(b"\x4e\x01\x80"))),
        "too many units",
    ),
    "tiles that share their data": (lambda: sharing(2**20, 100), "share their data too often"),
}


@pytest.mark.parametrize("name", BOMBS)
def test_what_would_cost_too_much_is_refused_before_it_is_decoded(
    loader: ImageLoader, name: str, decoded: list[object]
) -> None:
    build, reason = BOMBS[name]
    data = build()
    error = failure(data, loader)
    assert isinstance(error, (CorruptImageError, ImageTooLargeError))
    assert reason in f"{error} {error.__cause__}"
    assert decoded == []


@pytest.mark.parametrize(("side", "depth", "allowed"), [(9000, 8, True), (9000, 10, False), (7000, 10, True)])
def test_a_deeper_image_may_have_fewer_pixels(
    loader: ImageLoader, side: int, depth: int, allowed: bool, decoded: list[object]
) -> None:
    data = heif_file(
        forged(settings=decoder_settings(parameter_set(side, side, depth), depth=depth), width=side, height=side)
    )
    failure(data, loader)
    assert bool(decoded) == allowed


def test_what_belongs_to_other_images_costs_nothing(loader: ImageLoader, photo: Image.Image, heic: bytes) -> None:
    profile = struct.pack(">I8s", 12 + 2**16, b"colrprof") + bytes(2**16)
    others = [Item(b"hvc1", b"", [WIDE, profile, size(12_000, 12_000)]) for _ in range(20)]
    metadata = [Item(b"Exif", b"", references={b"cdsc": [1]}, place=(0, 2**30)) for _ in range(20)]
    assert difference(loader(heif_file(coded(photo), *others, *metadata)), loader(heic)) == 0


def test_metadata_that_would_crash_the_decoder_is_left_alone(
    loader: ImageLoader, photo: Image.Image, heic: bytes
) -> None:
    # The type of an item that is no text ends the process in pi-heif 1.4.0.
    metadata = Item(b"\xffime", b"data", references={b"cdsc": [1]})
    assert difference(loader(heif_file(coded(photo), metadata)), loader(heic)) == 0


def test_a_depth_that_would_crash_the_decoder_is_refused(loader: ImageLoader, photo: Image.Image) -> None:
    # pi-heif 1.4.0 goes by the box, and writes beyond its memory where the coded image has 8 bits.
    grey = coded(photo.convert("L"))
    settings = bytearray(grey.properties[0])
    assert settings[25] & 7 == 0
    settings[25] |= 7
    grey.properties[0] = bytes(settings)
    assert type(failure(heif_file(grey), loader)) is CorruptImageError


def test_tiles_of_different_depths_are_refused(loader: ImageLoader) -> None:
    picture, *tiles = tiled()
    tiles[3] = coded(tile("white").convert("L"))
    assert type(failure(heif_file(picture, *tiles), loader)) is CorruptImageError
