"""Everything that goes wrong, as one tree.

```text
EncoderError
├─ ConfigurationError (ValueError)    called wrong; raised before anything is read
│  ├─ MissingExtraError (ImportError) a package is needed that is not installed
│  └─ CheckpointError (OSError)       not found, offline, incomplete, unsafe
├─ ImageError (ValueError)            one input: .index, .source, __cause__
│  ├─ ImageNotFoundError (FileNotFoundError)
│  ├─ UnsupportedImageError           wrong type, shape, range or format
│  ├─ CorruptImageError               damaged or truncated
│  ├─ ImageTooLargeError              more pixels or bytes than the loader admits
│  └─ ImageFetchError                 a URL that is refused or does not answer
├─ BackendError (RuntimeError)        the device failed
├─ ServingError (RuntimeError)        a MicroBatcher did not take a call
│  ├─ QueueFullError                  too many calls wait
│  └─ ClosedError                     it is closed
└─ ContractError (RuntimeError)       a component broke its protocol; names it
```

Each class is also the built-in exception in brackets, so `except ValueError` or
`except FileNotFoundError` in an application keeps working.
"""

from __future__ import annotations

from clip_image_encoder._messages import without_tracebacks

__all__ = [
    "BackendError",
    "CheckpointError",
    "ClosedError",
    "ConfigurationError",
    "ContractError",
    "CorruptImageError",
    "EncoderError",
    "ImageError",
    "ImageFetchError",
    "ImageNotFoundError",
    "ImageTooLargeError",
    "MissingExtraError",
    "QueueFullError",
    "ServingError",
    "UnsupportedImageError",
]


class EncoderError(Exception):
    """The root of the tree: catch this to catch whatever this package raises."""


class ConfigurationError(EncoderError, ValueError):
    """An argument is wrong; the message says which, and what would be right."""


class MissingExtraError(ConfigurationError, ImportError):
    """A package is needed that is not installed; the message has the `pip install` line."""


class CheckpointError(ConfigurationError, OSError):
    """A checkpoint can't be found, reached, read whole or trusted; the message says what to do."""


class ImageError(EncoderError, ValueError):
    """One input can't become a vector.

    Attributes:
        reason: what is wrong and what to do, without naming the input.
        source: the input in a few words, such as its path; never its payload, never a credential.
        index: the input's place in the call, from 0; None outside of a call.

    Example:
        >>> from clip_image_encoder.errors import CorruptImageError
        >>> print(CorruptImageError("the JPEG data ends early", source="cat.jpg", index=3))
        image 3 (cat.jpg): the JPEG data ends early
    """

    def __init__(self, reason: str, *, source: str, index: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.source = source
        self.index = index

    def __str__(self) -> str:
        place = self.source if self.index is None else f"image {self.index} ({self.source})"
        return f"{place}: {self.reason}"

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments are lost by the default, and with them errors that cross processes.
        return _restore, (type(self), self.reason, self.source, self.index)

    def at(self, index: int) -> ImageError:
        """Return the same error, placed at `index`, with the same cause, but without the tracebacks.

        Their frames would keep the input in memory, whole, for as long as somebody keeps the error.
        """
        placed = type(self)(self.reason, source=self.source, index=index)
        placed.__cause__ = self.__cause__
        return without_tracebacks(placed)


def _restore(kind: type[ImageError], reason: str, source: str, index: int | None) -> ImageError:
    return kind(reason, source=source, index=index)


class ImageNotFoundError(ImageError, FileNotFoundError):
    """A path leads nowhere."""


class UnsupportedImageError(ImageError):
    """The input's type, shape, range or file format is not one that the loader reads."""


class CorruptImageError(ImageError):
    """The file is damaged or ends early."""


class ImageTooLargeError(ImageError):
    """The input has more pixels or bytes than the loader admits; nothing was decoded."""


class ImageFetchError(ImageError):
    """A URL was refused, or its server did not deliver an image."""


class BackendError(EncoderError, RuntimeError):
    """The model or its device failed; the encoder stays usable."""


class ServingError(EncoderError, RuntimeError):
    """A `MicroBatcher` did not take a call; the encoder is as it was."""


class QueueFullError(ServingError):
    """As many calls wait as may; try again later, or answer "busy"."""


class ClosedError(ServingError):
    """The batcher is closed, or was before this call began."""


class ContractError(EncoderError, RuntimeError):
    """A component returned what its protocol does not allow; the message names it."""
