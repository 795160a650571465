"""Tokenizers that the tokenizers library runs, most of them from a checkpoint's `tokenizer.json`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from clip_image_encoder.models._family import TokenizerFiles

if TYPE_CHECKING:
    from tokenizers import AddedToken, Tokenizer

__all__ = ["FastTokenizer", "id_of", "put_ends", "read_json_tokenizer", "side", "to_json"]

_ROLES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


class FastTokenizer:
    """A tokenizer of the tokenizers library, called so that it keeps no state and threads share it without a lock.

    Args:
        tokenizer: Tokenizer to run, which is changed in place; nothing else may use it.
        files: Files of the tokenizer, which name the special tokens and the sides on which texts are cut and padded.
        rule: Name for the fingerprint, as in `TextTokenizer.rule`; "" by default.

    Raises:
        ValueError: The vocabulary has no padding token.
    """

    def __init__(self, tokenizer: Tokenizer, files: TokenizerFiles, *, rule: str = "") -> None:
        stated = tokenizer.padding or {}
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.add_special_tokens(_special_tokens(files, tokenizer))
        self._tokenizer = tokenizer
        self.special_tokens = tokenizer.num_special_tokens_to_add(is_pair=False)
        self.padding_id = id_of(tokenizer, files.token("pad_token") or stated.get("pad_token"))
        self.padding_side = side(files.settings.get("padding_side", stated.get("direction")))
        self.truncation_side = side(files.settings.get("truncation_side"))
        self.rule = rule

    def __call__(self, text: str, max_length: int, /) -> list[int]:
        """Return the ids of a text, special tokens included, cut to `max_length`."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        encoding.truncate(max_length - self.special_tokens, direction=self.truncation_side)
        ids: list[int] = self._tokenizer.post_process(encoding).ids
        return ids


def to_json(tokenizer: FastTokenizer) -> str:
    """Return the content of a `tokenizer.json` for a tokenizer, with its padding."""
    from tokenizers import Tokenizer

    copy = Tokenizer.from_str(tokenizer._tokenizer.to_str())
    number = tokenizer.padding_id
    copy.enable_padding(pad_id=number, pad_token=copy.id_to_token(number) or "", direction=tokenizer.padding_side)
    written: str = copy.to_str()
    return written


def read_json_tokenizer(files: TokenizerFiles) -> Tokenizer | None:
    """Return the tokenizer of `tokenizer.json`, or None if there is no such file."""
    from tokenizers import Tokenizer

    path = files.paths.get("tokenizer.json")
    return None if path is None else Tokenizer.from_file(str(path))


def id_of(tokenizer: Tokenizer, token: str | None) -> int:
    """Return the id of a special token.

    Raises:
        ValueError: The token is not in the vocabulary.
    """
    number = None if token is None else tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"the special token {token!r} is not in its vocabulary")
    return number


def put_ends(tokenizer: Tokenizer, files: TokenizerFiles) -> None:
    """Make a tokenizer add a start and an end token if `tokenizer_config.json` says so, as it does for Gemma's.

    Raises:
        ValueError: Such a token is not in the vocabulary.
    """
    from tokenizers import processors

    if not {"add_bos_token", "add_eos_token"} & files.settings.keys():
        return
    ends = {role: files.token(f"{role}_token") or "" for role in ("bos", "eos")}
    before, after = (token if files.settings.get(f"add_{role}_token") else "" for role, token in ends.items())
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{before} $A {after}".strip(),
        special_tokens=[(token, id_of(tokenizer, token)) for token in (before, after) if token],
    )


def _special_tokens(files: TokenizerFiles, tokenizer: Tokenizer) -> list[AddedToken]:
    """Return the special tokens that the files name and the tokenizer doesn't find in texts yet, or not in that way.

    Tokens that are not in the vocabulary are left out: they would get an id for which the tower has no embedding.
    """
    from tokenizers import AddedToken

    added = files.settings.get("added_tokens_decoder")
    named = [*(added.values() if isinstance(added, Mapping) else ()), *map(files.settings.get, _ROLES)]
    exact = [AddedToken(value["content"], **_matching(value), special=True) for value in named if _is_special(value)]
    matched = {token.content for token in [*tokenizer.get_added_tokens_decoder().values(), *exact]}
    names = {value for value in named if isinstance(value, str)} - matched
    tokens = exact + [AddedToken(name, normalized=False, special=True) for name in sorted(names)]
    return [token for token in tokens if tokenizer.token_to_id(token.content) is not None]


def _is_special(value: object) -> bool:
    return isinstance(value, Mapping) and isinstance(value.get("content"), str) and value.get("special", True) is True


def _matching(value: Mapping[str, Any]) -> dict[str, bool]:
    return {key: bool(value.get(key)) for key in ("single_word", "lstrip", "rstrip", "normalized")}


def side(value: object) -> Literal["right", "left"]:
    return "left" if value == "left" else "right"
