"""The tensors that a model's Python objects hold,
by which one sees whether a forward pass leaves any behind."""

from collections import deque
from typing import Any

from torch import Tensor, nn

from camport.core.isolation.copying import ATOMS
from camport.core.isolation.private_copy import ORIGIN
from camport.core.isolation.reach import parts

_MOST = 20_000
"""So many objects are looked at."""


def held(double: nn.Module) -> dict[int, Tensor]:
    """The tensors that are reached through the attributes and hooks of a double's modules,
    by identity."""
    found: dict[int, Tensor] = {}
    alive: dict[int, Any] = {id(module): module for module in double.modules()}
    waiting: deque[Any] = deque(alive.values())
    while waiting and len(alive) < _MOST:
        value = waiting.popleft()
        inside = _attributes(value) if isinstance(value, nn.Module) else parts(value)
        for part in inside:
            if isinstance(part, Tensor):
                found[id(part)] = part
            elif type(part) not in ATOMS and id(part) not in alive:
                alive[id(part)] = part
                waiting.append(part)
    return found


def leaves_tensors(before: dict[int, Tensor], after: dict[int, Tensor]) -> bool:
    """Whether a pass has left tensors in the model, `held` before it and after it."""
    return any(before.get(key) is not tensor for key, tensor in after.items())


def _attributes(module: nn.Module) -> list[Any]:
    """Not the parameters, which are what they were, nor the user's own modules,
    of which a double knows."""
    return [value for name, value in module.__dict__.items() if name not in ("_parameters", ORIGIN)]
