"""Random numbers as a pure function of a seed and a place, the same in PyTorch and in every exported graph.

A generator has a state, which a graph does not have, and each engine's own is another. Here the n-th number is a hash
of n: integer arithmetic modulo the prime 2³¹ - 1 in int64, exact everywhere.
"""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

PRIME = (1 << 31) - 1
_FIRST, _SECOND, _STEP = 48271, 1103515245 % PRIME, 40692


def uniform(seed: int, numbers: Int[Tensor, " m"], count: int) -> Float[Tensor, "m n"]:
    """`count` numbers in (0, 1) for each of `numbers`: row i depends on `seed` and `numbers[i]` alone.

    Each is (h + 1/2) / p for a hash h of (seed, row, column) modulo the prime p = 2³¹ - 1.
    """
    column = torch.arange(count, device=numbers.device)
    row = _mixed(_mixed(numbers.long() % PRIME * _STEP + seed % PRIME))
    h = _mixed(_mixed(row[:, None] + column * _FIRST % PRIME) + column)
    return (h.double() + 0.5).div(PRIME).float().clamp(1e-7, 1 - 1e-7)


def normal(seed: int, numbers: Int[Tensor, " m"], count: int) -> Float[Tensor, "m n"]:
    """Likewise standard normal numbers: sqrt(-2 ln u) cos(2 pi v), the Box-Muller transform."""
    u = uniform(seed, numbers, 2 * count)
    return (-2 * u[:, :count].log()).sqrt() * (2 * math.pi * u[:, count:]).cos()


def _mixed(h: Tensor) -> Tensor:
    """A hash modulo the prime; products of two numbers below 2³¹ fit into int64."""
    h = h % PRIME
    h = (h * h % PRIME + h * _FIRST + _SECOND) % PRIME
    return (h * (h + _STEP) % PRIME * _SECOND + _FIRST) % PRIME
