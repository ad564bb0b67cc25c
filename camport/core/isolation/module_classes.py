"""Which class a module has in a double: one that derives from its own and computes the same,
without its pitfalls."""

import sys
from collections.abc import Callable
from weakref import WeakKeyDictionary

from torch import nn

from camport.core.isolation.batch_norm_fix import steady
from camport.core.isolation.fast_max_pool import pooling
from camport.core.isolation.private_copy import Kinds
from camport.core.isolation.uncached_modules import forgetful


class _Derived:
    """Derives a class once, and keeps none alive: classes that are made as a program runs come and
    go."""

    def __init__(self, derive: Callable[[type[nn.Module]], type[nn.Module]]) -> None:
        self._derive = derive
        self._found: WeakKeyDictionary[type[nn.Module], type[nn.Module] | None] = (
            WeakKeyDictionary()
        )

    def __call__(self, kind: type[nn.Module]) -> type[nn.Module]:
        """The class of a double."""
        if kind in self._found:
            return self._found[kind] or kind
        derived = self._derive(kind)
        # a derived class refers to its base, so it is kept where a Python module keeps that anyway
        if derived is kind:
            self._found[kind] = None
        elif getattr(sys.modules.get(kind.__module__), kind.__qualname__, None) is kind:
            self._found[kind] = derived
        return derived


graph: Kinds = _Derived(lambda kind: steady(forgetful(kind)))
"""For doubles that a graph is made of."""

eager: Kinds = _Derived(lambda kind: pooling(graph(kind)))
"""For doubles that are run in PyTorch."""
