"""Which parameters a model writes into as it runs,
so that a double gets copies of them and shares the others.

A parameter that is clamped or renormalised in `forward` through `.data` leaves no trace that could
be seen afterwards. The first pass of a model is therefore watched, operator by operator, below
autograd: a write into a shared parameter is stopped before it happens, and everything begins anew
    on a double that shares none.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from camport.errors import ModelError

T = TypeVar("T")

ALL = None
"""Stands for all parameters, until a pass has shown which they are."""

_learnt: Any = WeakIdKeyDictionary()


class WrittenError(ModelError):
    """A model was about to write into a parameter that a double shares with it."""


def written_by(model: nn.Module) -> Collection[str] | None:
    """Names of the parameters that a model writes into, as far as one knows;
    `ALL` while it is being found out."""
    found: Collection[str] | None = _learnt.get(model, ())
    return found


def restarted(call: Callable[[], T]) -> T:
    """What `call` gives, which makes its doubles itself:
    made anew where a model turns out to write into parameters."""
    try:
        return call()
    except WrittenError:
        return call()


def is_known(model: nn.Module) -> bool:
    """Whether a pass has shown into which parameters a model writes."""
    return model in _learnt and written_by(model) is not ALL


@contextmanager
def watched(model: nn.Module, parameters: Mapping[str, Tensor], shared: bool) -> Iterator[None]:
    """Watches a pass of a double that was made before it was known into what its model writes.

    Args:
        model: the user's.
        parameters: the double's, by name.
        shared: whether they are the user's own.

    Raises:
        WrittenError: before a shared parameter is written into.
    """
    watch = _Watch(parameters, shared)
    try:
        with watch:
            yield
    finally:
        if watch.stopped:
            _learnt[model] = ALL
    if watch.stopped:  # and the model caught the error
        raise WrittenError(watch.stopped)
    _learnt[model] = frozenset(watch.found).union(_learnt.get(model) or ())


class _Watch(TorchDispatchMode):
    def __init__(self, parameters: Mapping[str, Tensor], stops: bool) -> None:
        super().__init__()
        self.stops, self.stopped, self.found = stops, "", set[str]()
        self.places = {
            place: name for name, tensor in parameters.items() if (place := _place(tensor))
        }

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by PyTorch for every operator."""
        kwargs = kwargs or {}
        if func._schema.is_mutable:
            for name in self._written(func, args, kwargs):
                self.found.add(name)
                if self.stops:
                    self.stopped = (
                        f"the model writes into its parameter {name!r} as it runs; explain a copy"
                        " of it"
                    )
                    raise WrittenError(self.stopped)
        return func(*args, **kwargs)

    def _written(self, func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Iterator[str]:
        for i, argument in enumerate(func._schema.arguments):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            for tensor in tree_leaves(args[i] if i < len(args) else kwargs.get(argument.name)):
                place = _place(tensor) if isinstance(tensor, Tensor) else 0
                if place in self.places:
                    yield self.places[place]


def _place(tensor: Tensor) -> int:
    """Where a tensor's memory begins; 0 where it has none."""
    strided = tensor.layout == torch.strided and not tensor.is_meta
    return tensor.untyped_storage().data_ptr() if strided else 0
