"""Running a float32 program in float64, to have a reference that rounds 10⁹ times finer."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from camport.export.capture import Function

_WIDER: dict[Any, Any] = {torch.float32: torch.float64}


def _widen(value: Any) -> Any:
    """float32 tensors and the type itself in float64, anything else as it is."""
    if isinstance(value, Tensor):
        return value.double() if value.dtype == torch.float32 else value
    return _WIDER.get(value, value) if isinstance(value, torch.dtype) else value


class Float64(TorchDispatchMode):
    """While active, what would be computed in float32 is computed in float64: constants, ranges, explicit casts.

    Handing float64 tensors to a model is not enough: a mask made `.float()` or a grid made by `arange` would fail or
    round. The default type is process-wide and stays untouched.
    """

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Called by PyTorch for every operator."""
        args, kwargs = tree_map(_widen, (args, kwargs or {}))
        return tree_map(_widen, func(*args, **kwargs))


def in_float64(function: Function, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The outputs of `function`, computed in float64 throughout."""
    state, inputs = tree_map(_widen, (dict(state), dict(inputs)))
    with Float64():
        return function(state, inputs)
