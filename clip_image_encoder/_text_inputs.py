"""What a call was given as texts: strings that follow each other, each checked when its turn comes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from clip_image_encoder.errors import ConfigurationError

__all__ = ["each_text"]


def each_text(texts: str | Iterable[str]) -> Iterator[str]:
    """Return the texts one by one, each checked when its turn comes.

    Raises:
        ConfigurationError: `texts` has no order or is no iterable, now; an item is no text, later.
    """
    if isinstance(texts, (bytes, Mapping, Set)) or not isinstance(texts, Iterable):
        raise ConfigurationError(f"texts must be a string or an iterable of strings, not {type(texts).__name__}")
    return (_checked(index, text) for index, text in enumerate([texts] if isinstance(texts, str) else texts))


def _checked(index: int, text: object) -> str:
    if not isinstance(text, str):
        raise ConfigurationError(f"text {index} must be a string, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"text {index} has a surrogate, half of a character, in it") from error
    return text
