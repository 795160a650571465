"""Twelve files that are hard to get right, each with what a person sees in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from PIL import ExifTags, Image

from clip_image_encoder.tiny_shapes.draw import Scene, draw
from tests.promises.hostile.hostile_files import png

__all__ = ["AWKWARD", "Awkward"]


@dataclass(frozen=True, kw_only=True)
class Awkward:
    """A file.

    Attributes:
        name: of the file.
        write: writes it.
        seen: draws what a person sees in it, upright, on a white page; None where an error is right.
    """

    name: str
    write: Callable[[Path], None]
    seen: Callable[[], Image.Image] | None = None


def _picture() -> Image.Image:
    """Draw a red heart above a blue star, on white."""
    upper = draw(Scene(color="red", shape="heart", size=0.45, centre=(0.5, 0.25), canvas=(320, 240)))
    lower = draw(Scene(color="blue", shape="star", size=0.45, centre=(0.5, 0.75), canvas=(320, 240)))
    upper.paste(lower.crop((0, 120, 320, 240)), (0, 120))
    return upper


def _grey_picture() -> Image.Image:
    return _picture().convert("L")


def _black() -> Image.Image:
    return Image.new("RGB", (64, 64))


def _alpha() -> Image.Image:
    return _grey_picture().point(lambda value: 255 if value < 200 else 0)


def _on_white(image: Image.Image) -> Image.Image:
    page = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(page, image.convert("RGBA")).convert("RGB")


def _cut_out(mode: str) -> Image.Image:
    """Return the shapes alone: what surrounds them is transparent, and black beneath."""
    image = Image.composite(_picture().convert("RGB"), Image.new("RGB", (320, 240)), _alpha()).convert(mode)
    image.putalpha(_alpha())
    return image


def _save_turned(path: Path) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # what a phone writes that is held upright
    _picture().rotate(90, expand=True).save(path, quality=95, exif=exif)


def _save_sixteen_bits(path: Path) -> None:
    Image.fromarray(np.asarray(_grey_picture()).astype(np.uint16) * 257).save(path)


def _save_palette(path: Path) -> None:
    image = _picture().quantize(8)
    paper = image.getpixel((0, 0))
    assert isinstance(paper, int)
    palette = image.getpalette() or []
    palette[3 * paper : 3 * paper + 3] = [0, 0, 0]
    image.putpalette(palette)
    image.save(path, transparency=paper)


def _content(make: Callable[[], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(make())

    return write


def _save_half(path: Path) -> None:
    _picture().save(path, quality=95)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _save_animation(path: Path) -> None:
    later = draw(Scene(color="blue", shape="star", background="black", canvas=(320, 240)))
    _picture().save(path, save_all=True, append_images=[later] * 5)


AWKWARD: Mapping[str, Awkward] = MappingProxyType(
    {
        "JPEG, turned by EXIF": Awkward(name="turned.jpg", write=_save_turned, seen=_picture),
        "PNG of 16 bits": Awkward(name="deep.png", write=_save_sixteen_bits, seen=_grey_picture),
        "PNG, transparent": Awkward(
            name="cut-out.png", write=_cut_out("RGBA").save, seen=lambda: _on_white(_cut_out("RGBA"))
        ),
        "PNG, grey and transparent": Awkward(
            name="grey.png", write=_cut_out("LA").save, seen=lambda: _on_white(_cut_out("LA"))
        ),
        "PNG, palette, one color transparent": Awkward(name="palette.png", write=_save_palette, seen=_picture),
        "JPEG, CMYK": Awkward(
            name="print.jpg", write=lambda path: _picture().convert("CMYK").save(path, quality=95), seen=_picture
        ),
        "GIF, animated": Awkward(name="moving.gif", write=_save_animation, seen=_picture),
        "JPEG, half of it": Awkward(name="half.jpg", write=_save_half),
        "text, named .jpg": Awkward(name="notes.jpg", write=_content(lambda: b"milk, eggs, bread\n")),
        "no file, a mistyped path": Awkward(name="haert.jpg", write=lambda path: None),
        "PNG, 1 x 65,535, 206 bytes": Awkward(
            name="thin.png", write=_content(lambda: png(1, 65_535, bits=1)), seen=_black
        ),
        "PNG, 13,300 x 13,300, 172 kB": Awkward(
            name="huge.png", write=_content(lambda: png(13_300, 13_300)), seen=_black
        ),
    }
)
