"""The one place where what Pillow raises becomes an ImageError."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from clip_image_encoder.errors import CorruptImageError, ImageError, ImageTooLargeError

__all__ = ["pillow_errors"]


@contextmanager
def pillow_errors(*, source: str, what: str) -> Iterator[None]:
    """Turn whatever Pillow raises in the block into an ImageError, with the original as its cause.

    What Pillow says is left to the cause: its messages quote bytes of the file.

    Args:
        source: the input in a few words.
        what: what is decoded, such as `JPEG data`.

    Raises:
        ImageTooLargeError: Pillow's own limit of pixels, or the machine's memory, is exceeded.
        CorruptImageError: Pillow raised anything else.
    """
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # The warning arrives as an exception where the application's filters make it one.
        raise ImageTooLargeError(
            "more pixels than Pillow's own limit, PIL.Image.MAX_IMAGE_PIXELS, allows", source=source
        ) from error
    except MemoryError as error:
        raise ImageTooLargeError("decoded, the picture does not fit into memory", source=source) from error
    except Exception as error:
        # Decoders fail with a dozen kinds of exception, of which several are programming errors by
        # name (TypeError, KeyError, ZeroDivisionError): for damaged data any of them is the answer.
        raise CorruptImageError(
            f"the {what} is damaged, cut short or of a kind that Pillow can't decode", source=source
        ) from error
