"""How a detector's table was put together: which columns were computed by themselves is what
columns mean."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

from torch import Tensor
from torch.overrides import TorchFunctionMode

BOX = 4


class Joins(TorchFunctionMode):
    """While active, notes the sizes of the parts of every concatenation.

    Attributes:
        found: once each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found: set[tuple[int, ...]] = set()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Calls the function."""
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in ("cat", "concat", "concatenate"):
            given = args[0] if args else kwargs.get("tensors")
            axis = args[1] if len(args) > 1 else kwargs.get("dim", kwargs.get("axis", 0))
            if isinstance(given, list | tuple) and all(
                isinstance(v, Tensor) and v.dim() for v in given
            ):
                self.found.add(tuple(v.shape[axis] for v in given))
        return func(*args, **kwargs)


def has_objectness(joins: frozenset[tuple[int, ...]], columns: int) -> bool | None:
    """Whether a column between the box and the classes was computed by itself;
    None where that is not seen."""
    own = [set(accumulate(parts)) for parts in joins if sum(parts) == columns]
    if columns > BOX + 1 and any({BOX, BOX + 1} <= ends for ends in own):
        return True
    return False if (BOX, columns - BOX) in joins else None
