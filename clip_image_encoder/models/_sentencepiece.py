"""Reads a `spiece.model` and cuts texts as it says, without the sentencepiece library.

The file is a protobuf, `ModelProto` of sentencepiece_model.proto. These are the numbers of the fields that are read:

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
"""Number of characters that are looked at for a replacement; no replaced sequence is longer."""

# A run of ASCII characters. The last one before another character is left out, since both may be replaced together,
# such as a letter with its accent.
_ASCII = re.compile(r"[\x00-\x7f]+(?=[\x00-\x7f]|\Z)")


class SentencePieces:
    """A unigram model of sentencepiece, which is run as transformers' `SiglipTokenizer` runs it.

    That puts the unknown token before a text and drops its ids again: else a text would lose the space that it begins
    with, or get one. What is before a text also decides how its scores are rounded, so that it is the same token here.

    Args:
        pieces: Text, score and type of each piece.
        charsmap: Table of what normalizing replaces, in the file's format.
        adds_space: Whether a space is put before each text.

    Attributes:
        ids: Id of each piece, control pieces such as "</s>" included.
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
        """Return the ids of a text's pieces."""
        return self._cut(self._normalized(self._before + text))[self._dropped :]

    def _normalized(self, text: str) -> str:
        """Return a text, which must not begin with a space, as sentencepiece's `Normalizer` normalizes it."""
        return self._space + re.sub(" +", " ", self._replace(text)).replace(" ", _SPACE).rstrip(_SPACE)


def read_pieces(data: bytes) -> SentencePieces | None:
    """Return the model of a `spiece.model`, or None if it is of a kind that is not supported here.

    Args:
        data: Content of the file.

    Raises:
        ValueError: The content is that of another file, or damaged.
    """
    model = _fields(data)
    if not all(model.get(number) for number in (1, 2, 3)):
        raise ValueError("it is not a model of sentencepiece")
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
    """Replaces characters in a text, from its start to its end: always the longest sequence that has a replacement.

    The table is a trie of UTF-8 bytes in the format of darts-clone, a double array of 32-bit units:

        bit 31: it is a value | 30..10: offset | 9: the offset is shifted by 8 bits | 8: has a value | 7..0: label

    From a node, the child of a byte is at (node ^ offset ^ byte) if that unit's label is the byte; the node's value is
    at (node ^ offset).

    Args:
        charsmap: Length of the trie in bytes (32 bits), the trie, and the replacements, each of which ends with a zero
            byte. The values of the trie are places in the replacements.
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
        """Return a text in which all sequences are replaced that have a replacement."""
        parts, start = list[str](), 0
        while start < len(text):
            run = _ASCII.match(text, start) if self._are_alone else None
            if run:  # at once, since most texts are ASCII
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
            if unit & 0x800000FF != byte:  # it is a value, or has another label
                break
            node ^= _offset(unit)
            if unit >> 8 & 1:
                value, length = self._trie[node] & 0x7FFFFFFF, end
        if value is None:
            return text[0], 1
        return self._texts[value : self._texts.index(b"\0", value)].decode(), len(data[:length].decode())


def _offset(unit: int) -> int:
    return unit >> 10 << ((unit & 0x200) >> 6)


def _fields(message: bytes) -> _Fields:
    """Return the values of a protobuf message by the number of their field: integers or bytes, in the file's order."""
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
            raise ValueError("it is not a complete protobuf message")
        yield number, message[start : start + length]
        start += length


def _varint(message: bytes, start: int) -> tuple[int, int]:
    """Return the integer at a place of a message, which is stored in 7 bits a byte, and the place after it."""
    value = shift = 0
    while start < len(message):
        byte = message[start]
        value, start, shift = value | (byte & 0x7F) << shift, start + 1, shift + 7
        if byte < 0x80:
            return value, start
    raise ValueError("it is not a complete protobuf message")
