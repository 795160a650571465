"""The rules by which texts become tokens, by names that an exported folder can hold."""

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
    """Return the name of a rule, or None for none.

    Raises:
        ValueError: It is another package's, and has no name here.
    """
    if rule is None:
        return None
    found = next((name for name, known in rules.items() if known is rule), None)
    if found is None:
        raise ValueError(f"the rule {rule!r} for texts is not one of this package")
    return found
