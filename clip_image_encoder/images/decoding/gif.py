"""GIF: what lies before the first frame, and the canvas around it."""

from __future__ import annotations

from PIL import GifImagePlugin, Image

from clip_image_encoder.images.limits import check_parts

__all__ = ["canvas_mask", "check_blocks"]

_EXTENSION = 0x21

# A comment of 25 MB.
_MOST_BLOCKS = 100_000


def check_blocks(data: bytes, *, source: str) -> None:
    """Check how many blocks Pillow has to step over to find the first frame.

    Raises:
        ImageTooLargeError: there are too many.
    """
    flags = data[10] if len(data) > 10 else 0
    position = 13 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
    blocks = 0
    while position + 2 < len(data) and data[position] == _EXTENSION:
        position += 2
        while position < len(data) and data[position]:
            position += 1 + data[position]
            blocks += 1
            check_parts(blocks, most=_MOST_BLOCKS, parts="blocks before the first frame", source=source)
        position += 1


def canvas_mask(image: GifImagePlugin.GifImageFile) -> Image.Image | None:
    """Return the alpha of a loaded first frame that is smaller than the canvas; None for any other.

    Around the frame the canvas is transparent. Pillow gives it the palette's first colour.
    """
    extent = image.dispose_extent
    if image.tell() != 0 or extent is None or "transparency" in image.info or extent == (0, 0, *image.size):
        return None
    mask = Image.new("L", image.size, 0)
    mask.paste(255, extent)
    return mask
