"""Texts that a call is given: one string or an iterable of strings, checked one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Set

from clip_image_encoder.errors import ConfigurationError

__all__ = ["each_text"]


def each_text(texts: str | Iterable[str]) -> Iterator[str]:
    """Return an iterator over the texts that checks each of them.

    Args:
        texts: One string, or an iterable of strings.

    Raises:
        ConfigurationError: `texts` is a set, a mapping or no iterable, raised at the call; or an item is not a
            string, raised by the iterator.
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
        raise ConfigurationError(f"text {index} has a lone surrogate, which is no character; remove it") from error
    return text
