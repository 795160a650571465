"""What one format's files have that Pillow does not show, or shows otherwise."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clip_image_encoder.errors import CorruptImageError, ImageError, UnsupportedImageError
from clip_image_encoder.images import ImageLoader
from tests.units.images.png_files import SIGNATURE, chunk

from .conftest import WaysIn

LOADER = ImageLoader()

# 12 x 4 pixels from black to white, from white to black, and half black and half white, made by openjpeg.
DEEP_COLORS = np.rint(np.stack([np.arange(12), np.arange(11, -1, -1), (np.arange(12) >= 6) * 11], axis=1) * 255 / 11)
DEEP = {
    "12 bits, lossless": (
        "/0//UQAvAAAAAAAMAAAABAAAAAAAAAAAAAAADAAAAAQAAAAAAAAAAAADCwEBCwEBCwEB/1IADAAAAAEBAAQEAAH/XAAEQGD/ZAAlAAFD"
        "cmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAADFAAH/k8PzLCFoA6hT5MpTdWuACQwPG/PAm2hW8a2wGDastv6e"
        "Upx7VbbbXdZRtg8c5XHf3+EQEVBQyr1jIRmz4bortGzQq7o3R7c2BJC8cD6KsQeeVIKCcHYaY3p/0KYhtW0vDfRq8nLqvGQCFcNw4a/G"
        "kYLoDCPMU3/f4PgRUCN6HUS4uDbxZq1Fta9YqU18GbZXogLfbNlmhVzkBoUxDatpeG+jV5OXVeMgEK4bhw1+NIwXQGEeYpxIR//Z"
    ),
    "12 bits, lossy": (
        "/0//UQAvAAAAAAAMAAAABAAAAAAAAAAAAAAADAAAAAQAAAAAAAAAAAADCwEBCwEBCwEB/1IADQECAAEBAAQEAACI/1wABUJgAP9kACUA"
        "AUNyZWF0ZWQgYnkgT3BlbkpQRUcgdmVyc2lvbiAyLjUuNP+QAAoAAAAAAIAAAf+Tw+YyFBfanUIcNZLFRV2ul5Rx7XmK/T0+0fwHOM+8"
        "mBFQUMvXK8EI+5TLNB5OXVdCmG6/pXHdgGH7hgwkC9fBmeVBpQ8lz8SoEVAjehx1BuQrIWyRkXc+rLNdExYFYPE5p6PswL2HzAMsUoJz"
        "4GTrgEU6/9k="
    ),
    "16 bits, lossless": (
        "/0//UQAvAAAAAAAMAAAABAAAAAAAAAAAAAAADAAAAAQAAAAAAAAAAAADDwEBDwEBDwEB/1IADAAAAAEBAAQEAAH/XAAEQID/ZAAlAAFD"
        "cmVhdGVkIGJ5IE9wZW5KUEVHIHZlcnNpb24gMi41LjT/kAAKAAAAAAENAAH/k8P/ACCAIWgDqFPkylN1a4AJDA8b88CbaFbqoUMIqar4"
        "SpB4nMzSEKfsEk3rruV3x1u0Y2Ojvt2hZpN4VYVw2JSYMfSdcA/f+JLYEVBQyr1jIRmz4bortGzQq7o3R7c2BJC8cD6KsQeeVIKCcHYa"
        "Y3p/0KYhtW0vDfRq8nLqvGQCFcNw4a/GktsIDCIJTKn8R4Ne3NG6PbmwJGdcA3qxuI7A1rABT9/4krARUCN6HUS4uDbxZq1Fta9YqU18"
        "GbZXogLfbNlmhVzkBoUxDatpeG+jV5OXVeMgEK4bhw1+NJbYQGEQSmVP4jwa9uaN0e3NgSM64BvVjcR2BrWACoCQj//Z"
    ),
    "16 bits, lossy": (
        "/0//UQAvAAAAAAAMAAAABAAAAAAAAAAAAAAADAAAAAQAAAAAAAAAAAADDwEBDwEBDwEB/1IADQECAAEBAAQEAACI/1wABUKAAP9kACUA"
        "AUNyZWF0ZWQgYnkgT3BlbkpQRUcgdmVyc2lvbiAyLjUuNP+QAAoAAAAAAIAAAf+Tw+YyFBfanUIcNZLFRV2ul5Rx7XmK/T0+0fwHOM+8"
        "mBFQUMvXK8EI+5TLNB5OXVdCmG6/pXHdgGH7hgwkC9fBmeVBpQ8lz8SoEVAjehx1BuQrIWyRkXc+rLNdExYFYPE5p6PswL2HzAMsUoJz"
        "4GTrgEU6/9k="
    ),
}


def different(items: dict[str, Any], expected: Image.Image) -> list[str]:
    """Return the ways in that give other pixels."""
    return [name for name, item in items.items() if LOADER(item).tobytes() != expected.tobytes()]


class TestPng:
    def grey_with_key(self, bits: int, key: int) -> tuple[bytes, Image.Image]:
        """Return a PNG of every grey of that depth, one of which is transparent, and what it looks like on white."""
        count = 2**bits
        samples = [value for value in range(count) for _ in range(8)]
        packed = sum(value << bits * (len(samples) - 1 - place) for place, value in enumerate(samples))
        row = packed.to_bytes(len(samples) * bits // 8, "big")
        header = struct.pack(">IIBBBBB", len(samples), 1, bits, 0, 0, 0, 0)
        data = SIGNATURE + chunk(b"IHDR", header) + chunk(b"tRNS", struct.pack(">H", key))
        data += chunk(b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
        greys = [255 if value == key else round(value * 255 / (count - 1)) for value in samples]
        return data, Image.frombytes("L", (len(samples), 1), bytes(greys)).convert("RGB")

    @pytest.mark.parametrize(("bits", "key"), [(1, 0), (1, 1), (2, 1), (2, 3), (4, 0), (4, 7), (8, 1), (8, 200)])
    def test_a_transparent_grey_is_the_same_on_every_way_in(self, ways_in: WaysIn, bits: int, key: int) -> None:
        data, expected = self.grey_with_key(bits, key)
        items = ways_in(data)
        items["copy"] = items["loaded PIL image"].copy()
        assert different(items, expected) == []

    @pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iTXt", b"tIME", b"pHYs", b"eXIf", b"iCCP"])
    def test_a_wrong_checksum_of_what_no_pixel_needs_does_not_matter(
        self, picture: Image.Image, encode: Callable[..., bytes], name: bytes
    ) -> None:
        data = encode(picture)
        spoiled = data[:33] + chunk(name, b"k\0some text", checksum=1) + data[33:]
        assert LOADER(spoiled).tobytes() == picture.tobytes()

    def test_a_wrong_checksum_of_the_header_does(self, picture: Image.Image, encode: Callable[..., bytes]) -> None:
        data = bytearray(encode(picture))
        data[29] ^= 1
        with pytest.raises(CorruptImageError):
            LOADER(bytes(data))

    def test_the_orientation_and_the_profile_are_kept(self, encode: Callable[..., bytes]) -> None:
        exif = Image.Exif()
        exif[0x0112] = 6
        data = encode(Image.new("RGB", (3, 2)), exif=exif, icc_profile=b"profile")
        assert LOADER(data).size == (2, 3)
        with pytest.raises(CorruptImageError, match="ICC profile"):
            ImageLoader(color_profile="srgb")(data)


class TestGif:
    def gif(self, extent: tuple[int, int, int, int], canvas: tuple[int, int], *, key: int | None) -> bytes:
        """Return a GIF whose one frame, all red, covers a part of its canvas; the palette begins with green."""
        left, top, width, height = extent
        data = b"GIF89a" + struct.pack("<HHBBB", *canvas, 0x80, 0, 0) + bytes([0, 255, 0, 255, 0, 0])
        if key is not None:
            data += b"!\xf9\4\1\0\0" + bytes([key]) + b"\0"
        # 3 bits a code: clear, then the second color; a clear before each keeps the codes at 3 bits.
        codes = [code for _ in range(width * height) for code in (4, 1)] + [5]
        packed = sum(code << 3 * place for place, code in enumerate(codes))
        stream = packed.to_bytes(len(codes) * 3 // 8 + 1, "little")
        blocks = b"".join(
            bytes([len(part)]) + part for part in (stream[at : at + 255] for at in range(0, len(stream), 255))
        )
        return data + b"," + struct.pack("<HHHHB", left, top, width, height, 0) + b"\2" + blocks + b"\0;"

    @pytest.mark.parametrize("key", [None, 0])
    @pytest.mark.parametrize("extent", [(2, 1, 3, 4), (0, 0, 3, 3), (5, 0, 4, 6), (0, 0, 9, 6)])
    def test_the_canvas_around_the_first_frame_is_transparent(
        self, ways_in: WaysIn, extent: tuple[int, int, int, int], key: int | None
    ) -> None:
        expected = Image.new("RGB", (9, 6), "white")
        left, top, width, height = extent
        expected.paste("red", (left, top, left + width, top + height))
        assert different(ways_in(self.gif(extent, (9, 6), key=key)), expected) == []


class TestBmp:
    def bmp(self, alphas: list[int], header_size: int) -> bytes:
        """Return a BMP with one row of red pixels of these alphas."""
        masks = struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000)
        header = struct.pack("<IiiHHIIiiII", header_size, len(alphas), 1, 1, 32, 3, 0, 0, 0, 0, 0) + masks
        header = header.ljust(header_size, b"\0")
        return (
            b"BM" + struct.pack("<IHHI", 0, 0, 0, 14 + len(header)) + header
            + b"".join(bytes([0, 0, 255, alpha]) for alpha in alphas)
        )  # fmt: skip

    @pytest.mark.parametrize("header_size", [56, 108, 124])
    @pytest.mark.parametrize(
        ("alphas", "expected"),
        [
            ([0, 0, 0], [(255, 0, 0)] * 3),
            ([255, 255, 255], [(255, 0, 0)] * 3),
            ([0, 255, 0], [(255, 255, 255), (255, 0, 0), (255, 255, 255)]),
        ],
    )
    def test_an_alpha_that_is_0_everywhere_is_none(
        self, ways_in: WaysIn, alphas: list[int], expected: list[tuple[int, int, int]], header_size: int
    ) -> None:
        row = Image.new("RGB", (len(alphas), 1))
        row.putdata(expected)
        assert different(ways_in(self.bmp(alphas, header_size)), row) == []


class TestPortableMaps:
    @pytest.mark.parametrize("white", [1, 3, 100, 254, 256, 1023, 4095, 65534, 65535])
    @pytest.mark.parametrize("kind", ["5", "6", "2", "3"])
    def test_white_is_what_the_header_says(self, ways_in: WaysIn, kind: str, white: int) -> None:
        samples = np.rint(np.linspace(0, white, 12 * 7 * 3)).astype(int)
        samples = samples[: 12 * 7] if kind in "25" else samples
        body = (
            " ".join(map(str, samples)).encode()
            if kind in "23"
            else samples.astype("u1" if white < 256 else ">u2").tobytes()
        )
        grey = np.rint(samples * 255 / white).astype(np.uint8)
        expected = np.asarray(grey).reshape(7, 12, -1)
        for name, item in ways_in(f"P{kind}\n# a comment\n12 7\n{white}\n".encode() + body).items():
            difference = np.asarray(LOADER(item)).astype(int) - expected
            assert np.abs(difference).max() <= 1, name

    def test_a_dark_image_of_16_bits_stays_dark(self, ways_in: WaysIn) -> None:
        data = b"P5 4 1 65535\n" + np.array([0, 100, 200, 255], ">u2").tobytes()
        for item in ways_in(data).values():
            assert np.asarray(LOADER(item))[0, :, 0].tolist() == [0, 0, 1, 1]

    def test_a_binary_map_that_is_cut_is_refused(self) -> None:
        with pytest.raises(CorruptImageError):
            LOADER(b"P6 4 4 1023\n" + bytes(50))


class TestJpeg2000:
    def with_box(self, data: bytes, name: bytes, body: bytes) -> bytes:
        """Return a JP2 with another box in its header, in the place of any of that name."""
        if name in data:
            return data[: data.index(name) + 4] + body + data[data.index(name) + 4 + len(body) :]
        start = data.index(b"jp2h") - 4
        (length,) = struct.unpack_from(">I", data, start)
        box = struct.pack(">I", 8 + len(body)) + name + body
        return (
            data[:start]
            + struct.pack(">I", length + len(box))
            + data[start + 4 : start + length]
            + box
            + data[start + length :]
        )

    def channels(self, *entries: tuple[int, int, int]) -> bytes:
        return struct.pack(">H", len(entries)) + b"".join(struct.pack(">HHH", *entry) for entry in entries)

    @pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
    def test_channels_are_put_in_their_order(
        self, ways_in: WaysIn, picture: Image.Image, encode: Callable[..., bytes], order: tuple[int, int, int]
    ) -> None:
        written = Image.merge("RGB", [picture.getchannel(channel) for channel in order])
        entries = [(channel, 0, color + 1) for channel, color in enumerate(order)]
        data = self.with_box(encode(written, "JPEG2000"), b"cdef", self.channels(*entries))
        assert different(ways_in(data), picture) == []

    def test_alpha_may_come_first(self, picture: Image.Image, encode: Callable[..., bytes]) -> None:
        transparent = picture.copy()
        transparent.putalpha(Image.linear_gradient("L").resize(picture.size))
        red, green, blue, alpha = transparent.split()
        written = encode(Image.merge("RGBA", (alpha, red, green, blue)), "JPEG2000")
        data = self.with_box(written, b"cdef", self.channels((0, 1, 0), (1, 0, 1), (2, 0, 2), (3, 0, 3)))
        assert LOADER(data).tobytes() == LOADER(transparent).tobytes()

    @pytest.mark.parametrize("entries", [[(0, 0, 1), (1, 0, 2), (2, 0, 5)], [(0, 0, 1), (1, 0, 1), (7, 0, 3)]])
    def test_channels_that_are_no_colors_are_refused(
        self, picture: Image.Image, encode: Callable[..., bytes], entries: list[tuple[int, int, int]]
    ) -> None:
        with pytest.raises(UnsupportedImageError, match="channels"):
            LOADER(self.with_box(encode(picture, "JPEG2000"), b"cdef", self.channels(*entries)))

    @pytest.mark.parametrize("name", DEEP)
    def test_white_stays_white_beyond_8_bits(self, ways_in: WaysIn, name: str) -> None:
        expected = np.repeat(DEEP_COLORS[None], 4, axis=0)
        for way, item in ways_in(base64.b64decode(DEEP[name])).items():
            if way == "loaded PIL image":
                with pytest.raises(UnsupportedImageError, match="pass the file"):
                    LOADER(item)
            else:
                difference = np.asarray(LOADER(item)).astype(int) - expected
                assert np.abs(difference).max() <= (1 if "lossless" in name else 3), way

    def test_channels_of_different_sizes_are_refused(self, picture: Image.Image, encode: Callable[..., bytes]) -> None:
        data = bytearray(encode(picture, "JPEG2000", no_jp2=True))
        data[data.index(b"\xff\x51") + 41] = 2
        with pytest.raises(UnsupportedImageError, match="channels of different sizes"):
            LOADER(bytes(data))

    @pytest.mark.parametrize("name", DEEP)
    def test_a_deep_image_whose_tiles_are_coded_on_their_own_is_refused(self, name: str) -> None:
        data = base64.b64decode(DEEP[name])
        tile = data.index(b"\xff\x90")
        (size,) = struct.unpack_from(">I", data, tile + 6)
        steps = data[data.index(b"\xff\x5c") :][: 2 + data[data.index(b"\xff\x5c") + 3]]
        header = data[: tile + 6] + struct.pack(">I", size + len(steps)) + data[tile + 10 : tile + 12]
        with pytest.raises(UnsupportedImageError, match="coded in a way"):
            LOADER(header + steps + data[tile + 12 :])

    def test_a_loaded_image_that_does_not_say_how_deep_it_was_is_refused(
        self, picture: Image.Image, encode: Callable[..., bytes]
    ) -> None:
        with Image.open(io.BytesIO(encode(picture, "JPEG2000"))) as image:
            image.load()
            with pytest.raises(UnsupportedImageError, match=r"pass the file, or a copy\(\)"):
                LOADER(image)
            assert LOADER(image.copy()).tobytes() == picture.tobytes()


class TestGainMaps:
    def test_a_phone_photo_is_a_jpeg(self, picture: Image.Image, encode: Callable[..., bytes], ways_in: WaysIn) -> None:
        data = encode(picture, "MPO", save_all=True, append_images=[picture.convert("L")])
        strict = ImageLoader(formats=("JPEG", "PNG", "WEBP"))
        assert [name for name, item in ways_in(data).items() if strict(item).size != picture.size] == []

    def test_a_loader_of_mpo_alone_takes_no_other_jpeg(
        self, picture: Image.Image, encode: Callable[..., bytes]
    ) -> None:
        with pytest.raises(UnsupportedImageError, match="JPEG is not read"):
            ImageLoader(formats=("MPO",))(encode(picture, "JPEG"))


@pytest.mark.parametrize("format_name", ["ICO", "CUR", "SGI", "TGA", "DDS", "PCX", "QOI"])
def test_a_format_that_is_left_out_is_named_with_the_line_that_lets_it_in(
    picture: Image.Image, encode: Callable[..., bytes], format_name: str
) -> None:
    image = picture.resize((32, 32)) if format_name in ("ICO", "CUR") else picture
    data = encode(image, "ICO", bitmap_format="bmp") if format_name == "CUR" else encode(image, format_name)
    if format_name == "CUR":  # an icon of another type
        data = data[:2] + b"\2" + data[3:]
    with pytest.raises(UnsupportedImageError) as caught:
        LOADER(data)
    line = caught.value.reason.partition("; ImageLoader")[2].partition(" reads it")[0]
    assert format_name in line
    loader = eval(f"ImageLoader{line}", {"ImageLoader": ImageLoader})  # noqa: S307
    assert loader(data).tobytes() == image.tobytes()


def test_a_result_is_no_file_any_more(picture: Image.Image, encode: Callable[..., bytes]) -> None:
    result = LOADER(encode(picture, "BMP"))
    assert type(result) is Image.Image
    assert ImageLoader(formats=("PNG",))(result).tobytes() == picture.tobytes()


def test_a_closed_pil_image_is_called_closed(picture: Image.Image, encode: Callable[..., bytes], tmp_path: Any) -> None:
    (tmp_path / "a.png").write_bytes(encode(picture))
    with Image.open(tmp_path / "a.png") as image:
        pass
    loaded = Image.open(tmp_path / "a.png")
    loaded.load()
    loaded.close()
    for closed in (image, loaded):
        with pytest.raises(ImageError, match="closed"):
            LOADER(closed)
