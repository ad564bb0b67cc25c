"""An operator of our own (meaning, signature, shapes, ONNX form), and ONNX forms of ATen's."""

from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

MEANINGS: dict[Any, Callable[..., Any]] = {}
"""Operator -> the function that it is."""

FORMS: dict[Any, Callable[..., Any]] = {}
"""Operator -> its ONNX form, a function of an onnxscript opset and of what the operator takes."""

IN_SINGLE: list[Any] = []
"""Operators that half precision computes in float32, between casts."""

F = TypeVar("F", bound=Callable[..., Any])

_library = torch.library.Library("camport", "DEF")


def own_operator(
    signature: str,
    fake: Callable[..., Any],
    form: Callable[..., Any] | None = None,
    *,
    in_single: bool = False,
) -> Callable[[F], F]:
    """Makes a function the operator `torch.ops.camport.NAME`.

    Args:
        signature: the operator's, as `torch.library` takes it.
        fake: what it gives for shapes alone.
        form: its ONNX form; None for one that no lowered graph has.
        in_single: whether half precision computes it in float32.
    """

    def define(meaning: F) -> F:
        name = signature.partition("(")[0]
        _library.define(signature)
        torch.library.impl(_library, name, "CompositeExplicitAutograd")(meaning)
        torch.library.register_fake(f"camport::{name}", fake, lib=_library)
        operator = getattr(torch.ops.camport, name).default
        if form is not None:
            MEANINGS[operator], FORMS[operator] = meaning, form
        if in_single:
            IN_SINGLE.append(operator)
        return meaning

    return define


def onnx_form(*operators: str, in_single: bool = False) -> Callable[[F], F]:
    """Makes a function the ONNX form of ATen overloads, `"erfinv.default"`, which torch.onnx lacks.

    Files of PyTorch's own keep the operator. Overloads that the installed PyTorch does not have are
    passed over.

    Args:
        operators: what the form stands for; it takes an onnxscript opset and what they take.
        in_single: whether half precision computes them in float32.
    """

    def define(form: F) -> F:
        for operator in operators:
            name, overload = operator.split(".")
            found = getattr(getattr(torch.ops.aten, name, None), overload, None)
            if found is not None:
                FORMS[found] = form
                if in_single:
                    IN_SINGLE.append(found)
        return form

    return define


def differentiate(name: str, backward: Callable[..., Any], keep: Callable[..., Any]) -> None:
    """Gives an operator a gradient, where a model's forward pass calls it."""
    torch.library.register_autograd(f"camport::{name}", backward, setup_context=keep, lib=_library)


def like_gradient(gradient: Tensor, *others: Any) -> Tensor:
    """For `fake`: a tensor of the gradient's shape."""
    return gradient.new_empty(gradient.shape)


def constant(op: Any, value: Any) -> Any:
    """A numpy array in an ONNX form."""
    import onnx_ir as ir  # files of PyTorch's own need no onnx

    return op.Constant(value=ir.tensor(value))


def scalar(op: Any, value: float, like: Any) -> Any:
    """A number of the type of `like` in an ONNX form."""
    return op.CastLike(op.Constant(value_float=value), like)


def is_half(value: Any) -> bool:
    """Whether a value of an ONNX form is float16."""
    import onnx_ir as ir

    return bool(value.dtype == ir.DataType.FLOAT16)
