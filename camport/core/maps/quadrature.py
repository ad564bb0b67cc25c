"""Rules for an integral over [0, 1]: where a function is looked at, and what each value weighs."""

from typing import Literal

import numpy as np

Rule = Literal["gausslegendre", "riemann", "middle", "trapezoid"]
"""Gauss-Legendre's points; the right ends of equal steps; their middles; the trapezoids,
with both ends."""


def quadrature(steps: int, rule: Rule) -> tuple[list[float], list[float]]:
    """Places and weights; the weights sum up to 1."""
    if rule == "gausslegendre":
        places, weights = np.polynomial.legendre.leggauss(steps)
        return ((places + 1) / 2).tolist(), (weights / 2).tolist()
    if rule == "trapezoid":
        ends = [0.5 if i in (0, steps - 1) else 1.0 for i in range(steps)]
        return [i / (steps - 1) for i in range(steps)], [end / (steps - 1) for end in ends]
    offset = 1.0 if rule == "riemann" else 0.5
    return [(i + offset) / steps for i in range(steps)], [1 / steps] * steps
