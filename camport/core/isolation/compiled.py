"""What torch.compile was given, in place of what it made of that:
compiled code knows the user's modules, not a copy's.

A compiled part computes what it was made of, and hooks are not seen from within compiled code.
"""

from types import FunctionType
from typing import Any

from torch import nn


def original(module: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given; itself where it is not compiled."""
    while type(module).__module__ == "torch._dynamo.eval_frame" and isinstance(
        module._modules.get("_orig_mod"), nn.Module
    ):
        module = module._modules["_orig_mod"]  # type: ignore[assignment]
    return module


def uncompiled(function: Any) -> Any:
    """The function or method that `torch.compile` was given; itself where it is not compiled."""
    # functools.wraps copies the mark to functions that are not dynamo's
    while (
        type(function) is FunctionType
        and "_torchdynamo_orig_callable" in function.__dict__
        and "_dynamo" in function.__code__.co_filename
    ):
        function = function.__dict__["_torchdynamo_orig_callable"]
    return function
