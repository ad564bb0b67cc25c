"""The inverse of the error function."""

from collections.abc import Sequence
from typing import Any

from camport.export.operators.registry import onnx_form, scalar

TURN = 5.0
"""Where the tail begins, of w = -log(1 - x²): |x| = 0.9966."""

END = 100.0
"""Beyond any w of a number in float32 but ±1, where w is infinite."""

MIDDLE = (
    *(2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087),
    *(-0.00125372503, -0.00417768164, 0.246640727, 1.50140941),
)
"""Coefficients of the polynomial in w - 2.5, highest power first."""

TAIL = (
    *(-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773),
    *(-0.0076224613, 0.00943887047, 1.00167406, 2.83297682),
)
"""Of that in √w - 3."""


@onnx_form("erfinv.default", in_single=True)  # 1 - x² has no digits left in float16
def erfinv_form(op: Any, x: Any) -> Any:
    """x p(w): Giles, Approximating the erfinv function, GPU Computing Gems 2, 2011, table 5."""
    one, turn = scalar(op, 1.0, x), scalar(op, TURN, x)
    w = op.Neg(op.Log(op.Mul(op.Sub(one, x), op.Add(one, x))))
    middle = _polynomial(op, MIDDLE, op.Sub(w, scalar(op, 2.5, x)))
    tail = _polynomial(op, TAIL, op.Sub(op.Sqrt(op.Max(w, turn)), scalar(op, 3.0, x)))
    tail = op.Where(op.Less(w, scalar(op, END, x)), tail, w)  # the polynomial ends at -∞
    return op.Mul(op.Where(op.Less(w, turn), middle, tail), x)


def _polynomial(op: Any, coefficients: Sequence[float], x: Any) -> Any:
    """By Horner's scheme."""
    value = scalar(op, coefficients[0], x)
    for coefficient in coefficients[1:]:
        value = op.Add(op.Mul(value, x), scalar(op, coefficient, x))
    return value
