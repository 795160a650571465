"""A `spiece.model` without the sentencepiece library: its pieces, how it normalizes a text, and how it cuts it.

The file is a protobuf, `ModelProto` of sentencepiece_model.proto. What it says is repeated here by number:

    ModelProto       1 pieces    2 trainer_spec    3 normalizer_spec
    SentencePiece    1 piece     2 score           3 type
    TrainerSpec      3 model_type    24 treat_whitespace_as_suffix    35 byte_fallback
    NormalizerSpec   2 precompiled_charsmap    3 add_dummy_prefix    4 remove_extra_whitespaces    5 escape_whitespaces
"""

from __future__ import annotations

import re
import struct
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, TypeAlias

from clip_image_encoder.models._unigram import Unigram

__all__ = ["SentencePieces", "read_pieces"]

_Fields: TypeAlias = dict[int, list[Any]]

_UNIGRAM = 1
_NORMAL, _UNKNOWN, _CONTROL, _UNUSED, _BYTE = 1, 2, 3, 5, 6
_SPACE = "▁"
_LONGEST = 32
"""More characters than any sequence has that is replaced."""

# The last one before another character may be replaced together with that, such as a letter with its accent.
_ASCII = re.compile(r"[\x00-\x7f]+(?=[\x00-\x7f]|\Z)")


class SentencePieces:
    """A unigram model of sentencepiece, run as transformers' `SiglipTokenizer` does: behind the name of a token.

    Without something before it, a text would lose the space that it begins with, or get one. What stands before a
    text also decides the rounding of its scores, so it is the same here.

    Args:
        pieces: The text, the score and the type of each piece.
        charsmap: What normalizing replaces, as the file has it.
        adds_space: Whether each text gets a space before it.

    Attributes:
        ids: The id of each piece, control pieces such as "</s>" included.
    """

    def __init__(self, pieces: list[tuple[str, float, int]], charsmap: bytes, *, adds_space: bool) -> None:
        texts, scores, kinds = zip(*pieces, strict=True)
        unknown = kinds.index(_UNKNOWN)
        found = [score if kind == _NORMAL else None for score, kind in zip(scores, kinds, strict=True)]
        self.ids = {piece: number for number, piece in enumerate(texts)}
        of_bytes = [self.ids[f"<0x{byte:02X}>"] for byte in range(256)] if _BYTE in kinds else ()
        self._cut = Unigram(texts, found, unknown, of_bytes)
        self._replace = _Replacements(charsmap)
        self._space, self._before = _SPACE if adds_space else "", texts[unknown]
        self._dropped = len(self._cut(self._normalized(self._before)))

    def __call__(self, text: str) -> list[int]:
        """Return the ids of the pieces of a text."""
        return self._cut(self._normalized(self._before + text))[self._dropped :]

    def _normalized(self, text: str) -> str:
        """Return a text that begins with no space as sentencepiece's `Normalizer` does."""
        return self._space + re.sub(" +", " ", self._replace(text)).replace(" ", _SPACE).rstrip(_SPACE)


def read_pieces(data: bytes) -> SentencePieces | None:
    """Return the model of a `spiece.model`, or None if it is of a kind that isn't read here.

    Args:
        data: The content of the file.

    Raises:
        ValueError: It is no such file, or damaged.
    """
    model = _fields(data)
    if not all(model.get(number) for number in (1, 2, 3)):
        raise ValueError("it is no model of sentencepiece")
    trainer, rules = _fields(model[2][0]), _fields(model[3][0])
    pieces = [_piece(_fields(piece)) for piece in model[1]]
    is_read = (
        trainer.get(3, [_UNIGRAM]) == [_UNIGRAM]
        and trainer.get(24, [0]) == [0]
        and rules.get(4, [1]) == [1]
        and rules.get(5, [1]) == [1]
        and trainer.get(35, [0]) == [int(any(kind == _BYTE for _, _, kind in pieces))]
        and {kind for _, _, kind in pieces} <= {_NORMAL, _UNKNOWN, _CONTROL, _UNUSED, _BYTE}
    )
    adds_space = rules.get(3, [1]) == [1]
    return SentencePieces(pieces, rules.get(2, [b""])[0], adds_space=adds_space) if is_read else None


def _piece(fields: _Fields) -> tuple[str, float, int]:
    piece, score = fields[1][0].decode(), struct.unpack("<f", fields.get(2, [b"\0\0\0\0"])[0])[0]
    return piece, score, fields.get(3, [_NORMAL])[0]


class _Replacements:
    """Replaces the longest sequences of characters that have a replacement, from the start of a text to its end.

    Args:
        charsmap: The length of a trie, the trie, and the replacements, each of which ends with a zero byte. The trie
            is a double array of darts-clone; its values are places in the replacements.
    """

    def __init__(self, charsmap: bytes) -> None:
        (size,) = struct.unpack_from("<I", charsmap or bytes(4))
        self._trie = struct.unpack_from(f"<{size // 4}I", charsmap, 4) if size else ()
        self._texts = charsmap[4 + size :]
        ascii_only = [chr(code) for code in range(128)]
        self._alone = {ord(letter): self._longest(letter)[0] for letter in ascii_only}
        pairs = (first + second for first in ascii_only for second in ascii_only)
        self._are_alone = all(self._longest(pair)[1] == 1 for pair in pairs)

    def __call__(self, text: str) -> str:
        """Return the text with everything replaced."""
        parts, start = list[str](), 0
        while start < len(text):
            run = _ASCII.match(text, start) if self._are_alone else None
            if run:  # most of most texts, at once
                parts.append(run[0].translate(self._alone))
                start = run.end()
            else:
                part, length = self._longest(text[start : start + _LONGEST])
                parts.append(part)
                start += length
        return "".join(parts)

    def _longest(self, text: str) -> tuple[str, int]:
        """Return what replaces the start of a text, and the number of characters that it replaces."""
        data, value, length = text.encode(), None, 0
        node = _offset(self._trie[0]) if self._trie else 0
        for end, byte in enumerate(data if self._trie else b"", 1):
            node ^= byte
            unit = self._trie[node]
            if unit & 0x800000FF != byte:  # the label
                break
            node ^= _offset(unit)
            if unit >> 8 & 1:  # a leaf is below
                value, length = self._trie[node] & 0x7FFFFFFF, end
        if value is None:
            return text[0], 1
        return self._texts[value : self._texts.index(b"\0", value)].decode(), len(data[:length].decode())


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 0x200) >> 6)


def _fields(message: bytes) -> _Fields:
    """Return the values of a protobuf message by number: integers, or bytes, in the order of the file."""
    fields: _Fields = defaultdict(list)
    for number, value in _values(message):
        fields[number].append(value)
    return fields


def _values(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    start = 0
    while start < len(message):
        key, start = _varint(message, start)
        number, kind = key >> 3, key & 7
        if kind == 0:
            value, start = _varint(message, start)
            yield number, value
            continue
        if kind == 2:
            length, start = _varint(message, start)
        else:
            length = {1: 8, 5: 4}.get(kind, len(message) + 1)
        if start + length > len(message):
            raise ValueError("it is not a whole protobuf")
        yield number, message[start : start + length]
        start += length


def _varint(message: bytes, start: int) -> tuple[int, int]:
    """Return the integer at a place of a message, and the place behind it."""
    value = shift = 0
    while start < len(message):
        byte = message[start]
        value, start, shift = value | (byte & 0x7F) << shift, start + 1, shift + 7
        if byte < 0x80:
            return value, start
    raise ValueError("it is not a whole protobuf")
