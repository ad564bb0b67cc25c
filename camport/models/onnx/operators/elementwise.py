"""Arithmetic, one element at a time."""

import torch
from torch import Tensor

from camport.models.onnx.registry import operator
from camport.models.onnx.small import Small, number
from camport.models.onnx.types import torch_dtype


@operator("Add")
def add(a: Tensor, b: Tensor) -> Tensor:
    """a + b."""
    return a + b


@operator("Sub")
def sub(a: Tensor, b: Tensor) -> Tensor:
    """a - b."""
    return a - b


@operator("Mul")
def mul(a: Tensor, b: Tensor) -> Tensor:
    """a · b."""
    return a * b


@operator("Div")
def div(a: Tensor, b: Tensor) -> Tensor:
    """a / b; integers towards zero."""
    return a / b if a.is_floating_point() else torch.div(a, b, rounding_mode="trunc")


@operator("Mod")
def mod(a: Tensor, b: Tensor, *, fmod: int = 0) -> Tensor:
    """The remainder, with the sign of b, or of a for `fmod`."""
    return torch.fmod(a, b) if fmod else torch.remainder(a, b)


@operator("Pow", scalar=("exponent",))
def power(x: Tensor, exponent: Tensor | Small) -> Tensor:
    """x to the power of a number or of a tensor, in the type of x."""
    y = x.pow(number(exponent)) if isinstance(exponent, Small) else x.pow(exponent)
    return y.to(x.dtype)


@operator("Sum")
def total(*terms: Tensor) -> Tensor:
    """The sum of all inputs."""
    result = terms[0]
    for term in terms[1:]:
        result = result + term
    return result


@operator("Mean")
def mean(*terms: Tensor) -> Tensor:
    """The mean of all inputs."""
    return total(*terms) / len(terms)


@operator("Min")
def minimum(*terms: Tensor) -> Tensor:
    """The smallest of all inputs, element by element."""
    result = terms[0]
    for term in terms[1:]:
        result = torch.minimum(result, term)
    return result


@operator("Max")
def maximum(*terms: Tensor) -> Tensor:
    """The largest of all inputs, element by element."""
    result = terms[0]
    for term in terms[1:]:
        result = torch.maximum(result, term)
    return result


@operator("Cast")
def cast(x: Tensor, *, to: int, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """x in another type; saturation and rounding concern 8-bit floats, which are not imported."""
    return x.to(torch_dtype(to))


@operator("CastLike")
def cast_like(x: Tensor, like: Tensor, *, saturate: int = 1, round_mode: str = "up") -> Tensor:
    """x in the type of `like`."""
    return x.to(like.dtype)


@operator("Reciprocal")
def reciprocal(x: Tensor) -> Tensor:
    """1 / x."""
    return x.reciprocal()


@operator("BitShift")
def bit_shift(a: Tensor, b: Tensor, *, direction: str) -> Tensor:
    """Shifts the bits of a by b places."""
    return a << b if direction == "LEFT" else a >> b


_UNARY = {
    "Abs": torch.abs,
    "Acos": torch.acos,
    "Acosh": torch.acosh,
    "Asin": torch.asin,
    "Asinh": torch.asinh,
    "Atan": torch.atan,
    "Atanh": torch.atanh,
    "Ceil": torch.ceil,
    "Cos": torch.cos,
    "Cosh": torch.cosh,
    "Erf": torch.erf,
    "Exp": torch.exp,
    "Floor": torch.floor,
    "Log": torch.log,
    "Neg": torch.neg,
    "Round": torch.round,
    "Sign": torch.sign,
    "Sin": torch.sin,
    "Sinh": torch.sinh,
    "Sqrt": torch.sqrt,
    "Tan": torch.tan,
    "Tanh": torch.tanh,
}


class _Unary:
    """A function of one tensor under one parameter name:
    torch's own have no signature that Python can read."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __call__(self, x: Tensor) -> Tensor:
        return _UNARY[self.name](x)


for _name in _UNARY:
    operator(_name)(_Unary(_name))
