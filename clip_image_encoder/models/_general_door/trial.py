"""Finds out what a network computes and which of its tensors it needs for that, without weights.

The network runs on torch's meta device, which has shapes and no numbers, so that a network of any size takes a moment.
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
"""Functions that ask for numbers, such as whether a mask masks anything: the meta device has none, the answer is no."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """The result of a network's computation, and what it was computed with.

    Attributes:
        result: Result of the computation, on the meta device.
        needed: Names of the parameters and buffers that it was computed with.
    """

    result: Tensor
    needed: frozenset[str]


def try_out(model: nn.Module, compute: Callable[[], Tensor]) -> Trial:
    """Run a computation, and see which of a network's tensors it needs.

    Args:
        model: Network on the meta device.
        compute: Function that computes with the network.

    Raises:
        Exception: The network raised it.
    """
    with torch.inference_mode(), torch.device("meta"), _Watch() as watch:
        result = compute()
    tensors = (*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False))
    needed = frozenset(name for name, tensor in tensors if id(tensor) in watch.seen)
    return Trial(result=result, needed=needed)


def idle_children(model: nn.Module, trial: Trial) -> list[str]:
    """Return the names of a network's direct children that have weights and needed none of them."""
    at_work = {name.split(".")[0] for name in trial.needed}
    return [
        name
        for name, child in model.named_children()
        if name not in at_work and next(child.parameters(), None) is not None
    ]


def without(model: nn.Module, children: Sequence[str]) -> None:
    """Remove direct children from a network in place, so that their memory is freed."""
    for name in children:
        setattr(model, name, nn.Identity())


class _Watch(TorchFunctionMode):
    """Records the tensors that torch's functions are called with in this thread, by `id`.

    The ids of parameters and buffers stay theirs, since the network keeps them alive.
    """

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
        """Call a function of torch, and record the tensors in its arguments."""
        named = dict(kwargs or {})
        # Reading an attribute of a tensor, such as its dtype, is not computing with it.
        if func.__name__ != "__get__":
            self.seen.update(id(tensor) for tensor in _tensors_in([*args, *named.values()]))
        return False if func.__name__ in _QUESTIONS else func(*args, **named)


def _tensors_in(values: Sequence[object]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, (list, tuple)):
            yield from _tensors_in(value)
