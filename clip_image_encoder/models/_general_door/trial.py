"""What a network computes and what it needs for it, found out without its weights.

torch's meta device has shapes and no numbers, so that a network of any size is tried in a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

__all__ = ["Trial", "idle_children", "try_out", "without"]


_QUESTIONS = frozenset({"__bool__", "__contains__"})
"""What is asked of numbers, of which there are none, such as whether a mask masks anything; the answer is no."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What was seen while a network computed.

    Attributes:
        result: What it gave, on the meta device.
        needed: Names of the parameters and buffers that it computed with.
    """

    result: Tensor
    needed: frozenset[str]


def try_out(model: nn.Module, compute: Callable[[], Tensor]) -> Trial:
    """See which of a network's tensors are used in a computation.

    Args:
        model: A network on the meta device.
        compute: Calls it.

    Raises:
        Exception: Whatever the network raises.
    """
    with torch.inference_mode(), torch.device("meta"), _Watch() as watch:
        result = compute()
    tensors = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    needed = frozenset(name for name, tensor in tensors if id(tensor) in watch.seen)
    return Trial(result=result, needed=needed)


def idle_children(model: nn.Module, trial: Trial) -> list[str]:
    """Return the names of a network's direct children that have weights, none of which was needed."""
    at_work = {name.split(".")[0] for name in trial.needed}
    return [
        name
        for name, child in model.named_children()
        if name not in at_work and next(child.parameters(), None) is not None
    ]


def without(model: nn.Module, children: Sequence[str]) -> None:
    """Take direct children out of a network in place, so that no memory is kept for them."""
    for name in children:
        setattr(model, name, nn.Identity())


class _Watch(TorchFunctionMode):
    """Remembers the tensors that torch's functions are called with in this thread, by ids that last as they do."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[int] = set()

    def __torch_function__(
        self,
        func: Any,
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Call a function of torch."""
        named = dict(kwargs or {})
        # To ask for a tensor's dtype or shape is not to compute with it.
        if func.__name__ != "__get__":
            self.seen.update(id(tensor) for tensor in _tensors_in([*args, *named.values()]))
        return False if func.__name__ in _QUESTIONS else func(*args, **named)


def _tensors_in(values: Sequence[object]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors_in(value)
