"""The likeliest pieces of a text in a unigram model, found as sentencepiece's `unigram::Model::EncodeOptimized` does.

It is a Viterbi search (Kudo 2018, "Subword Regularization"): for each place in the text, the best way to cut what is
before it. The scores are added in single precision as there, so that ties are broken in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import c_float

__all__ = ["Unigram"]

_PENALTY = 10.0
"""Difference between the lowest score of a piece and the score of a character that is in no piece."""


class Unigram:
    """Cuts texts into the pieces whose scores have the largest sum.

    The unigram model of the tokenizers library adds in double precision. Of "88888", the pieces "888" and "88" have
    the same sum in either order there; here the last bit of a float decides, as it does in sentencepiece.

    Args:
        pieces: Text of each piece, by its id.
        scores: Score of each piece, by its id; None for a piece that no text is cut into, such as "</s>".
        unknown: Id of a character that is in no piece.
        of_bytes: Id of each of the 256 bytes, which characters that are in no piece are cut into; empty, the default,
            if they become `unknown`.
    """

    def __init__(
        self, pieces: Sequence[str], scores: Sequence[float | None], unknown: int, of_bytes: Sequence[int] = ()
    ) -> None:
        self._pieces = {
            piece: (number, score)
            for number, (piece, score) in enumerate(zip(pieces, scores, strict=True))
            if score is not None
        }
        self._longest: dict[str, int] = {}
        for piece in self._pieces:
            self._longest[piece[0]] = max(len(piece), self._longest.get(piece[0], 0))
        lowest = min(score for _, score in self._pieces.values())
        self._unknown, self._unknown_score = unknown, _rounded(lowest - _PENALTY)
        self._of_bytes = of_bytes

    def __call__(self, text: str) -> list[int]:
        """Return the ids of a text's pieces; a run of characters that are in no piece is one id, or its bytes' ids."""
        sums = [0.0] * (len(text) + 1)
        ways: list[tuple[int, int] | None] = [None] * len(sums)  # by the end of a piece: where it starts, and its id
        for start, letter in enumerate(text):
            before, is_letter_a_piece = sums[start], False
            for end in range(start + 1, min(start + self._longest.get(letter, 0), len(text)) + 1):
                found = self._pieces.get(text[start:end])
                if found is None:
                    continue
                is_letter_a_piece = is_letter_a_piece or end == start + 1
                total = _rounded(before + found[1])
                if ways[end] is None or total > sums[end]:
                    sums[end], ways[end] = total, (start, found[0])
            if not is_letter_a_piece:
                total = _rounded(before + self._unknown_score)
                if ways[start + 1] is None or total > sums[start + 1]:
                    sums[start + 1], ways[start + 1] = total, (start, self._unknown)
        return self._back(text, ways)

    def _back(self, text: str, ways: Sequence[tuple[int, int] | None]) -> list[int]:
        ids: list[int] = []
        end = len(text)
        while (way := ways[end]) is not None:
            start, number = way
            if number == self._unknown and self._of_bytes:
                ids += [self._of_bytes[byte] for byte in reversed(text[start:end].encode())]
            elif number != self._unknown or ids[-1:] != [number]:
                ids.append(number)
            end = start
        return ids[::-1]


def _rounded(value: float) -> float:
    return c_float(value).value
