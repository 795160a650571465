"""Poolings of sentence-transformers, which make one vector of each text's tokens and their mask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from clip_image_encoder.errors import CheckpointError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["POOLINGS", "pooling_mode"]

_OLD_KEYS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
"""Fields of configs before version 5.4, each of which is true or false for one mode."""


def pooling_mode(config: Mapping[str, Any], *, name: str) -> str:
    """Return the mode that a pooling's config names, a key of `POOLINGS`.

    Args:
        config: Parsed `config.json` of the pooling.
        name: Name of the pooling for error messages.

    Raises:
        CheckpointError: The mode is not supported, or there are several, whose vectors would be concatenated.
    """
    said = config.get("pooling_mode")
    if said is None:
        said = [mode for key, mode in _OLD_KEYS.items() if config.get(key)] or ["mean"]
    modes = [said] if isinstance(said, str) else list(said)
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise CheckpointError(
            f"{name} pools by {' and '.join(map(str, modes))}; supported is one of {', '.join(POOLINGS)}"
        )
    return modes[0]


def _first(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the first token that is not padding."""
    place = mask.argmax(dim=1)[:, None, None].expand(-1, 1, tokens.shape[-1])
    return tokens.gather(1, place)[:, 0]


def _largest(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the largest number of all tokens, for each place of the vector."""
    return tokens.masked_fill(mask[:, :, None] == 0, float("-inf")).amax(dim=1)


def _mean(tokens: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of the tokens, computed in float32, since sums over long texts overflow in float16."""
    weights = mask[:, :, None].float()
    return ((tokens * weights).sum(dim=1) / weights.sum(dim=1)).to(tokens.dtype)


POOLINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {"cls": _first, "max": _largest, "mean": _mean}
"""Pooling functions by mode, of tokens `(n, length, width)` and their mask `(n, length)`; each returns `(n, width)`."""
