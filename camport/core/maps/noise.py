"""Random numbers as a pure function of a seed and a place,
the same in PyTorch and in every exported graph.

A generator has a state, which a graph does not have, and each engine's own is another. Here the
n-th number is a hash of n: integer arithmetic modulo the prime 2³¹ - 1 in int64, exact everywhere.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from camport.core.maps.loop import traced

PRIME = (1 << 31) - 1
_AT_ONCE = 1 << 16
_FIRST, _SECOND, _STEP = 48271, 1103515245 % PRIME, 40692


def uniform(seed: int, numbers: Int[Tensor, " m"], count: int) -> Float[Tensor, "m n"]:
    """`count` numbers in (0, 1) for each of `numbers`:
    row i depends on `seed` and `numbers[i]` alone.

    Each is (h + 1/2) / p for a hash h of (seed, row, column) modulo the prime p = 2³¹ - 1.
    """
    row, column = _hashed(seed, numbers, count)
    return _in_parts(lambda part: _met(row, part), column, row.shape[0])


def normal(seed: int, numbers: Int[Tensor, " m"], count: int) -> Float[Tensor, "m n"]:
    """Likewise standard normal numbers: sqrt(-2 ln u) cos(2 pi v), then sqrt(-2 ln u) sin(2 pi v),
    after Box-Muller."""
    half = (count + 1) // 2
    row, column = _hashed(seed, numbers, 2 * half)

    def pairs(part: Tensor) -> Tensor:
        length, angle = (-2 * _met(row, part[0]).log()).sqrt(), 2 * math.pi * _met(row, part[1])
        return torch.stack([length * angle.cos(), length * angle.sin()], 1)

    return _in_parts(pairs, column.unflatten(0, (2, half)), 2 * row.shape[0]).flatten(1)[:, :count]


def _hashed(seed: int, numbers: Tensor, count: int) -> tuple[Tensor, Tensor]:
    seed = seed % PRIME
    row = _mixed(_mixed(numbers.long() % PRIME * _STEP + seed))[:, None]
    return row, _mixed(torch.arange(count, device=numbers.device) * _FIRST + seed)


def _met(row: Int[Tensor, "m 1"], column: Int[Tensor, " n"]) -> Float[Tensor, "m n"]:
    """Where rows and columns meet: few steps, since that is where the work is."""
    h = (row + column) % PRIME
    h = h * (h + _SECOND) % PRIME
    h = h * (h + (row + _STEP) % PRIME) % PRIME
    return h.float().add(0.5).mul(1 / PRIME).clamp(1e-7, 1 - 1e-7)


def _in_parts(numbers: Callable[[Tensor], Tensor], column: Tensor, rows: int) -> Tensor:
    """`numbers` of the columns, eagerly of as many at a time as the processor's cache holds:
    a third faster."""
    if traced():
        return numbers(column)
    return torch.cat(
        [numbers(part) for part in column.split(max(1, _AT_ONCE // max(1, rows)), -1)], -1
    )


def _mixed(h: Tensor) -> Tensor:
    """A hash modulo the prime; products of two numbers below 2³¹ fit into int64."""
    h = h % PRIME
    h = (h * h % PRIME + h * _FIRST + _SECOND) % PRIME
    return (h * (h + _STEP) % PRIME * _SECOND + _FIRST) % PRIME
