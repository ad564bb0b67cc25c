"""Classes that a model rules out by a logit of minus infinity,
whose product with a weight of 0 is no number."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from camport.core.maps.loop import traced

_here = threading.local()


@contextmanager
def rules_out(some: bool) -> Iterator[None]:
    """What is traced in here has such classes or has none, which a graph cannot look at;
    nested ones hold inside."""
    before = getattr(_here, "some", False)
    _here.some = some
    try:
        yield
    finally:
        _here.some = before


def any_ruled_out(outputs: Any) -> bool:
    """Whether a model's outputs have such logits."""
    leaves = [v for v in tree_leaves(outputs) if isinstance(v, Tensor) and v.is_floating_point()]
    return any(bool(torch.isneginf(v).any()) for v in leaves)


def weighed(values: Tensor, weights: Tensor) -> Tensor:
    """weights * values, and 0 where the weight is,
    of logits in which minus infinity rules a class out."""
    if traced() and not getattr(_here, "some", False):
        # five operators fewer in the graphs of models that rule nothing out
        return values * weights
    return torch.where(weights == 0, torch.zeros_like(values), values) * weights
