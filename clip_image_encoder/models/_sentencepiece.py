"""A `spiece.model` without the sentencepiece library: its pieces, how it normalizes a text, and how it cuts it.

The file is a protobuf, `ModelProto` of sentencepiece_model.proto. What it says is repeated here by number:

    ModelProto       1 pieces    2 trainer_spec    3 normalizer_spec
    SentencePiece    1 piece     2 score           3 type
    TrainerSpec      3 model_type    24 treat_whitespace_as_suffix    35 byte_fallback
    NormalizerSpec   2 precompiled_charsmap    4 remove_extra_whitespaces    5 escape_whitespaces
"""

from __future__ import annotations

import struct
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

__all__ = ["SentencePieces", "read_pieces"]

_Fields: TypeAlias = dict[int, list[Any]]

_UNIGRAM = 1
_NORMAL, _UNKNOWN, _CONTROL, _UNUSED = 1, 2, 3, 5
_SPACE = "▁"


class SentencePieces:
    """A unigram model of sentencepiece.

    Args:
        pieces: The text, the score and the type of each piece.
        charsmap: What normalizing replaces, as the file has it.
        drops_spaces: Whether normalizing drops the spaces at the end, and those behind another one.

    Attributes:
        ids: The id of each piece, control pieces such as "</s>" included.
    """

    def __init__(self, pieces: list[tuple[str, float, int]], charsmap: bytes, *, drops_spaces: bool) -> None:
        from tokenizers.models import Unigram

        self.ids = {piece: number for number, (piece, _, _) in enumerate(pieces)}
        self._drops_spaces = drops_spaces
        self._replacement = _replacements(charsmap)
        # No text has a space when it is cut: a name that begins with one is never found in it.
        vocabulary = [(piece if kind == _NORMAL else f" {piece}", score) for piece, score, kind in pieces]
        unknown = next(number for number, (_, _, kind) in enumerate(pieces) if kind == _UNKNOWN)
        self._unigram = Unigram(vocabulary, unknown, byte_fallback=False)

    def __call__(self, text: str) -> list[int]:
        """Return the ids of the pieces of a text, without a space of its own before it and symbols around it."""
        normalized = self._normalized(text)
        return [token.id for token in self._unigram.tokenize(normalized)] if normalized else []

    def _normalized(self, text: str) -> str:
        """Return a text as sentencepiece's `Normalizer` does where something stands before it: spaces are kept."""
        data, start, parts, after_space = text.encode(), 0, list[str](), False
        while start < len(data):
            part, length = self._replacement(data, start)
            start += length
            if after_space and self._drops_spaces:
                part = part.lstrip(" ")
            if part:
                after_space = part.endswith(" ")
                parts.append(part)
        joined = "".join(parts).replace(" ", _SPACE)
        return joined.rstrip(_SPACE) if self._drops_spaces else joined


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
        and trainer.get(35, [0]) == [0]
        and rules.get(5, [1]) == [1]
        and {kind for _, _, kind in pieces} <= {_NORMAL, _UNKNOWN, _CONTROL, _UNUSED}
    )
    return SentencePieces(pieces, rules.get(2, [b""])[0], drops_spaces=rules.get(4, [1]) != [0]) if is_read else None


def _piece(fields: _Fields) -> tuple[str, float, int]:
    piece, score = fields[1][0].decode(), struct.unpack("<f", fields.get(2, [b"\0\0\0\0"])[0])[0]
    return piece, score, fields.get(3, [_NORMAL])[0]


def _replacements(charsmap: bytes) -> Callable[[bytes, int], tuple[str, int]]:
    """Return what finds the replacement of the longest sequence of characters that has one.

    Args:
        charsmap: The length of a trie, the trie, and the replacements, each of which ends with a zero byte. The trie
            is a double array of darts-clone; its values are places in the replacements.

    Returns:
        A function of UTF-8 and a place in it, which gives what stands there after normalizing, and the number of
        bytes that it stands for: one character, or several that are replaced together.
    """
    trie, texts = array("I"), b""
    if charsmap:
        (size,) = struct.unpack_from("<I", charsmap)
        trie.frombytes(charsmap[4 : 4 + size])
        texts = charsmap[4 + size :]

    def longest(data: bytes, start: int) -> tuple[str, int]:
        value, length = None, 0
        if trie:
            node = _offset(trie[0])
            for end in range(start, len(data)):
                node ^= data[end]
                unit = trie[node]
                if unit & 0x800000FF != data[end]:  # the label
                    break
                node ^= _offset(unit)
                if unit >> 8 & 1:  # a leaf is below
                    value, length = trie[node] & 0x7FFFFFFF, end + 1 - start
        if value is not None:
            return texts[value : texts.index(b"\0", value)].decode(), length
        length = 1 if data[start] < 0xC0 else 2 if data[start] < 0xE0 else 3 if data[start] < 0xF0 else 4
        return data[start : start + length].decode(), length

    return longest


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
