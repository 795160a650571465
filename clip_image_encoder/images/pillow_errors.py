"""Translation of Pillow's exceptions into `ImageError`; no other file does it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

from clip_image_encoder.errors import CorruptImageError, ImageError, ImageTooLargeError

__all__ = ["pillow_errors"]


@contextmanager
def pillow_errors(*, source: str, what: str) -> Iterator[None]:
    """Turn any exception of Pillow in the block into an ImageError, with the original as its cause.

    The message does not repeat Pillow's, which quotes bytes of the file; the cause has it.

    Args:
        source: Short description of the input, for error messages.
        what: Name of the data that is decoded, such as "JPEG data".

    Raises:
        ImageTooLargeError: The image exceeds Pillow's own limit of pixels, or the memory of the machine.
        CorruptImageError: Pillow raised any other exception.
    """
    try:
        yield
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # The warning is raised where the application's warning filters turn it into an exception.
        raise ImageTooLargeError(
            "more pixels than Pillow's own limit, PIL.Image.MAX_IMAGE_PIXELS, allows", source=source
        ) from error
    except MemoryError as error:
        raise ImageTooLargeError("the decoded image does not fit into memory", source=source) from error
    except Exception as error:
        # Damaged data makes decoders raise a dozen kinds of exceptions. Several are programming errors
        # by name, such as TypeError, KeyError and ZeroDivisionError, so that none is left out.
        raise CorruptImageError(
            f"the {what} is damaged, cut short or of a kind that Pillow can't decode", source=source
        ) from error
