"""Which class a module has in a double: one that derives from its own and computes the same, without its pitfalls."""

from functools import cache
from typing import cast

from torch import nn

from camport.core.forgetful import forgetful
from camport.core.pooling import pooling
from camport.core.replica import Kinds
from camport.core.steady import steady


def _recorded(kind: type[nn.Module]) -> type[nn.Module]:
    return steady(forgetful(kind))


def _explained(kind: type[nn.Module]) -> type[nn.Module]:
    return pooling(recorded(kind))


recorded = cast(Kinds, cache(_recorded))
"""For doubles that a graph is made of."""

explained = cast(Kinds, cache(_explained))
"""For doubles that are run in PyTorch."""
