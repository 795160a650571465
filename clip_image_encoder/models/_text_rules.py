"""Names for the functions that clean and tokenize texts, by which an exported folder refers to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from clip_image_encoder.models._byte_pairs import byte_pairs
from clip_image_encoder.models._family import TextTokenizer, TokenizerFiles
from clip_image_encoder.models._open_clip.texts import (
    canonical,
    lower,
    named_texts,
    simple_texts,
    white_space,
    without_separator_texts,
)
from clip_image_encoder.models._siglip_texts import siglip_texts

__all__ = ["CLEANINGS", "TOKENIZERS", "name_of"]

# The keys are written into exported folders: a changed key makes older folders unreadable.
CLEANINGS: Mapping[str, Callable[[str], str]] = {
    "lower case, mended": lower,
    "white space, mended": white_space,
    "no case, no punctuation, mended": canonical,
}
TOKENIZERS: Mapping[str, Callable[[TokenizerFiles], TextTokenizer | None]] = {
    "CLIP": byte_pairs,
    "SigLIP": siglip_texts,
    "open_clip": simple_texts,
    "open_clip, named": named_texts,
    "open_clip, without separators": without_separator_texts,
}


def name_of(rule: object, rules: Mapping[str, object]) -> str | None:
    """Return the name of a function for texts, or None if there is no function.

    Args:
        rule: Function that a `TextSpec` has for cleaning or tokenizing, or None.
        rules: Functions that may be written into an exported folder, by their names.

    Raises:
        ValueError: The function is none of these.
    """
    if rule is None:
        return None
    found = next((name for name, known in rules.items() if known is rule), None)
    if found is None:
        raise ValueError(f"{rule!r}, which prepares the texts, is not a function of this package")
    return found
