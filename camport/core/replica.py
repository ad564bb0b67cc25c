"""A private double of a model that shares its tensors: hooks, modes and caches set on it never reach the user's.

Why a double and not the model itself: explaining needs evaluation mode, forward hooks and parameters that do not
record. Set on the user's model these would be seen by other threads and would stay behind when something raises.
A double costs about a millisecond and nothing has to be undone.
"""

import functools
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

_CONTAINERS = ("_parameters", "_buffers", "_modules")
_HOOKS = {key for key in nn.Module().__dict__ if "hooks" in key}
_ATOMS = {int, float, bool, str, type(None), torch.device, torch.dtype, torch.Size}
_DEPTH = 3
"""How deep lists, tuples and dictionaries among a module's attributes are searched for tensors and modules."""


def replicate(model: nn.Module, substitute: Callable[[str, Tensor], Tensor]) -> nn.Module:
    """The double of `model` in evaluation mode, each tensor replaced by `substitute(dotted name, tensor)`.

    A tensor that is reachable by several names is substituted once, under its first name.
    """
    names = {id(module): name for name, module in model.named_modules()}
    doubles: dict[int, nn.Module] = {}
    for module in model.modules():
        scripted = isinstance(module, torch.jit.ScriptModule)
        doubles[id(module)] = module if scripted else module.__class__.__new__(module.__class__)
    swap = _Swap(doubles, substitute)
    for module in model.modules():
        double, prefix = doubles[id(module)], names[id(module)]
        if double is module:
            continue
        attributes = module.__dict__.copy()
        for key in _CONTAINERS:
            members = attributes[key]
            if members:
                attributes[key] = {k: swap(v, _join(prefix, k)) for k, v in members.items()}
            else:
                attributes[key] = {}
        for key, value in attributes.items():
            if type(value) not in _ATOMS and key not in _CONTAINERS and key not in _HOOKS:
                attributes[key] = swap(value, _join(prefix, key))
        attributes["training"] = False
        double.__dict__.update(attributes)
    return doubles[id(model)]


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor of `model` by dotted name: parameters, buffers and plain attributes; shared ones once."""
    found: dict[str, Tensor] = {}

    def note(name: str, tensor: Tensor) -> Tensor:
        found[name] = plain(tensor)
        return tensor

    replicate(model, note)
    return found


def with_state(model: nn.Module, state: Mapping[str, Tensor]) -> nn.Module:
    """The double of `model` that computes with `state` instead of the model's own tensors."""
    return replicate(model, lambda name, tensor: state[name])


def hook(double: nn.Module, after: Callable[..., Any]) -> RemovableHandle:
    """Registers a forward hook on a double alone: its table of hooks is still shared with the user's module."""
    double.__dict__["_forward_hooks"] = double._forward_hooks.copy()
    return double.register_forward_hook(after)


def pre_hook(double: nn.Module, before: Callable[..., Any]) -> RemovableHandle:
    """Registers a forward pre-hook on a double alone."""
    double.__dict__["_forward_pre_hooks"] = double._forward_pre_hooks.copy()
    return double.register_forward_pre_hook(before)


def plain(tensor: Tensor) -> Tensor:
    """`tensor` outside autograd, sharing memory where possible; an inference tensor has to be copied."""
    return tensor.clone() if tensor.is_inference() else tensor.detach()


class _Swap:
    """Replaces tensors and modules inside an attribute's value, and keeps everything else as it is."""

    def __init__(self, doubles: dict[int, nn.Module], substitute: Callable[[str, Tensor], Tensor]) -> None:
        self.doubles, self.substitute = doubles, substitute
        self.seen: dict[int, Tensor] = {}

    def __call__(self, value: Any, name: str, depth: int = 0) -> Any:
        if isinstance(value, Tensor):
            if id(value) not in self.seen:
                self.seen[id(value)] = self.substitute(name, value)
            return self.seen[id(value)]
        if isinstance(value, nn.Module):
            return self.doubles.get(id(value), value)
        if isinstance(value, MethodType):
            owner = self.doubles.get(id(value.__self__))
            return value if owner is None else MethodType(value.__func__, owner)
        if isinstance(value, functools.partial):
            return functools.partial(self(value.func, name), *value.args, **value.keywords)
        if depth < _DEPTH and type(value) in (list, tuple):
            return type(value)(self(v, f"{name}.{i}", depth + 1) for i, v in enumerate(value))
        if depth < _DEPTH and type(value) is dict:
            return {k: self(v, f"{name}.{k}", depth + 1) for k, v in value.items()}
        return value


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
