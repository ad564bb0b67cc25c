"""ONNX forms of the operators in `camport.export.operators`, as torch.onnx takes them."""

from collections.abc import Callable
from functools import wraps
from types import MethodType
from typing import Any

from onnxscript.values import Opset

from camport.export import operators as operators
from camport.export.operators.registry import FORMS


def table(opset: int = 20) -> dict[Callable, Callable]:
    """Operator -> its ONNX form at that version of the standard operators, at least 18."""
    op = Opset("", opset)
    return {operator: _function(MethodType(form, op)) for operator, form in FORMS.items()}


def _function(method: Callable) -> Callable:
    """A method as a plain function: torch.onnx writes attributes on it."""

    @wraps(method)
    def form(*args: Any, **kwargs: Any) -> Any:
        return method(*args, **kwargs)

    return form
