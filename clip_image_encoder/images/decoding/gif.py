"""GIF: a limit for the blocks before the first frame, and the transparent canvas around that frame."""

from __future__ import annotations

from PIL import GifImagePlugin, Image

from clip_image_encoder.images.limits import check_parts

__all__ = ["canvas_mask", "check_blocks"]

_EXTENSION = 0x21

# As many as a comment of 25 MB has.
_MOST_BLOCKS = 100_000


def check_blocks(data: bytes, *, source: str) -> None:
    """Check how many blocks Pillow has to skip to find the first frame.

    Raises:
        ImageTooLargeError: The file has more than 100,000 blocks before the first frame.
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
    """Return the alpha of a loaded first frame that is smaller than the canvas; None for any other frame.

    The canvas around the frame is transparent. Pillow fills it with the palette's first color.
    """
    extent = image.dispose_extent
    if image.tell() != 0 or extent is None or "transparency" in image.info or extent == (0, 0, *image.size):
        return None
    mask = Image.new("L", image.size, 0)
    mask.paste(255, extent)
    return mask
