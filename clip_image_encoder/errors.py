"""The exceptions of this package, as one tree.

```text
EncoderError
├─ ConfigurationError (ValueError)    a wrong argument; raised before an image is read
│  ├─ MissingExtraError (ImportError) a package is needed that is not installed
│  └─ CheckpointError (OSError)       not found, offline, incomplete, unsafe
├─ ImageError (ValueError)            one input: .index, .source, __cause__
│  ├─ ImageNotFoundError (FileNotFoundError)
│  ├─ UnsupportedImageError           wrong type, shape, range or format
│  ├─ CorruptImageError               damaged or truncated
│  ├─ ImageTooLargeError              more pixels or bytes than the loader admits
│  └─ ImageFetchError                 a URL that is refused or does not answer
├─ BackendError (RuntimeError)        the model or its device failed
├─ ServingError (RuntimeError)        a MicroBatcher did not take a call
│  ├─ QueueFullError                  too many calls wait
│  └─ ClosedError                     the batcher is closed
└─ ContractError (RuntimeError)       a component broke its protocol; names the component
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
    """Base class of all exceptions of this package."""


class ConfigurationError(EncoderError, ValueError):
    """An argument is wrong; the message names it and says which values are right."""


class MissingExtraError(ConfigurationError, ImportError):
    """A package is needed that is not installed; the message has the `pip install` line."""


class CheckpointError(ConfigurationError, OSError):
    """A checkpoint is missing, unreachable, incomplete or unsafe; the message says what to do."""


class ImageError(EncoderError, ValueError):
    """An input can't be turned into a vector.

    Attributes:
        reason: What is wrong and what to do, without the name of the input.
        source: Short description of the input, such as its path, without its content or credentials.
        index: Place of the input in the call, from 0; None outside of a call.

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
        # BaseException pickles its positional arguments only: unpickling would fail without the keyword-only ones.
        return _restore, (type(self), self.reason, self.source, self.index)

    def at(self, index: int) -> ImageError:
        """Return a copy of the error with another `index` and the same cause, without tracebacks.

        The frames of a traceback would keep the whole input in memory for as long as the error is kept.
        """
        placed = type(self)(self.reason, source=self.source, index=index)
        placed.__cause__ = self.__cause__
        return without_tracebacks(placed)


def _restore(kind: type[ImageError], reason: str, source: str, index: int | None) -> ImageError:
    return kind(reason, source=source, index=index)


class ImageNotFoundError(ImageError, FileNotFoundError):
    """There is no file at a path."""


class UnsupportedImageError(ImageError):
    """The input's type, shape, range or file format is not one that the loader reads."""


class CorruptImageError(ImageError):
    """The file is damaged or ends early."""


class ImageTooLargeError(ImageError):
    """The input has more pixels or bytes than the loader's limits allow; it was not decoded."""


class ImageFetchError(ImageError):
    """A URL was refused, or its server did not deliver an image."""


class BackendError(EncoderError, RuntimeError):
    """The model or its device failed; the encoder stays usable."""


class ServingError(EncoderError, RuntimeError):
    """A `MicroBatcher` did not take a call; the encoder is as it was."""


class QueueFullError(ServingError):
    """The queue is full: `max_queue` calls wait; try again later, or answer "busy", such as with HTTP 503."""


class ClosedError(ServingError):
    """The batcher is closed, or was closed before this call was encoded."""


class ContractError(EncoderError, RuntimeError):
    """A component raised or returned something that its protocol does not allow; the message names the component."""
