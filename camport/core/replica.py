"""A private double of a model that shares its tensors: hooks, modes and caches set on it never reach the user's.

Why a double and not the model itself: explaining needs evaluation mode, forward hooks and parameters that do not
record. Set on the user's model these would be seen by other threads and would stay behind when something raises.
A double costs about a millisecond and nothing has to be undone.
"""

import functools
from collections import OrderedDict
from collections.abc import Callable, Mapping
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

Kinds = Callable[[type[nn.Module]], type[nn.Module]]
"""Which class a module of some class has in a double: one that derives from it and computes the same."""

_OWN = frozenset(nn.Module().__dict__)
"""Attributes that every module has; the others are its class's."""
_ATOMS = {int, float, bool, str, type(None), torch.device, torch.dtype, torch.Size}
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_DEPTH = 3
"""How deep lists, tuples and dictionaries among a module's attributes are searched for tensors and modules."""


def same(kind: type[nn.Module]) -> type[nn.Module]:
    """The class itself."""
    return kind


def replicate(model: nn.Module, substitute: Callable[[str, Tensor], Tensor], kind_of: Kinds = same) -> nn.Module:
    """The double of `model` in evaluation mode, each tensor replaced by `substitute(dotted name, tensor)`.

    A tensor that is reachable by several names is substituted once, under its first name. A double's class is
    `kind_of` its original's: not a `forward` of its own, which would refer to its module, and such circles wait for a
    garbage collection.
    """
    named = _visited(model)
    doubles: dict[int, nn.Module] = {}
    for _, module in named:
        kind: Any = type(module)
        # kind.__new__ of a torch.fx.GraphModule makes a class anew, without its forward
        doubles[id(module)] = module if issubclass(kind, torch.jit.ScriptModule) else object.__new__(kind_of(kind))
    swap = _Swap(doubles, substitute)
    for prefix, module in named:
        double = doubles[id(module)]
        if double is module:
            continue
        attributes = module.__dict__.copy()
        start = f"{prefix}." if prefix else ""
        for key in ("_parameters", "_buffers"):
            held = attributes[key]
            attributes[key] = {k: v if v is None else swap.tensor(v, start, k) for k, v in held.items()} if held else {}
        within = attributes["_modules"]
        attributes["_modules"] = {k: doubles.get(id(v), v) for k, v in within.items()} if within else {}
        for key in [k for k in attributes if k not in _OWN]:
            value = attributes[key]
            if type(value) not in _ATOMS:
                attributes[key] = swap(value, start + key)
        attributes["training"] = False
        hooks = attributes["_forward_hooks"]  # transformers' models hook themselves as they run
        attributes["_forward_hooks"] = hooks.copy() if hooks else OrderedDict()
        object.__setattr__(double, "__dict__", attributes)
    return doubles[id(model)]


def _visited(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Each module once with its name, as `named_modules` tells them, several times faster."""
    found: list[tuple[str, nn.Module]] = []
    _visit(model, "", found, set())
    return found


def _visit(module: nn.Module, name: str, found: list[tuple[str, nn.Module]], seen: set[int]) -> None:
    seen.add(id(module))
    found.append((name, module))
    for key, child in module._modules.items():
        if child is not None and id(child) not in seen:
            _visit(child, f"{name}.{key}" if name else key, found, seen)


def double_of(model: nn.Module, kind_of: Kinds = same) -> nn.Module:
    """The double of `model` with the model's own parameters, outside autograd, and copies of what it may write into."""
    return replicate(model, lambda name, t: t.detach().clone() if _written(name, t) else plain(t), kind_of)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor of `model` by dotted name: parameters, buffers and plain attributes; shared ones once."""
    found: dict[str, Tensor] = {}

    def note(name: str, tensor: Tensor) -> Tensor:
        found[name] = plain(tensor)
        return tensor

    replicate(model, note)
    return found


def with_state(model: nn.Module, state: Mapping[str, Tensor], kind_of: Kinds = same) -> nn.Module:
    """The double of `model` that computes with `state` instead of the model's own tensors, and writes into none."""
    return replicate(model, lambda name, t: state[name].clone() if _written(name, t) else state[name], kind_of)


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
    if tensor.is_inference():
        return tensor.clone()
    return tensor.detach() if tensor.requires_grad else tensor


def _written(name: str, tensor: Tensor) -> bool:
    """Whether a model may write into a tensor as it runs: a counter, a state.

    Not into parameters, nor in evaluation mode into the statistics of normalisations.
    """
    return type(tensor) is not nn.Parameter and not name.endswith(_STATISTICS)


class _Swap:
    """Replaces tensors and modules inside an attribute's value, and keeps everything else as it is."""

    def __init__(self, doubles: dict[int, nn.Module], substitute: Callable[[str, Tensor], Tensor]) -> None:
        self.doubles, self.substitute = doubles, substitute
        self.seen: dict[int, Tensor] = {}

    def __call__(self, value: Any, name: str, depth: int = 0) -> Any:
        kind = type(value)
        if kind in _ATOMS:
            return value
        if kind in (list, tuple):
            if depth >= _DEPTH or _ATOMS.issuperset(map(type, value)):
                return value
            return kind(self(v, f"{name}.{i}", depth + 1) for i, v in enumerate(value))
        if kind is dict:
            if not value or depth >= _DEPTH:
                return value
            return {k: self(v, f"{name}.{k}", depth + 1) for k, v in value.items()}
        if issubclass(kind, Tensor):
            return self.tensor(value, "", name)
        if issubclass(kind, nn.Module):
            return self.doubles.get(id(value), value)
        if kind is MethodType:
            owner = self.doubles.get(id(value.__self__))
            return value if owner is None else MethodType(value.__func__, owner)
        if kind is functools.partial:
            return functools.partial(self(value.func, name), *value.args, **value.keywords)
        return value

    def tensor(self, value: Tensor, start: str, name: str) -> Tensor:
        """The substitute of the tensor called start + name, asked for once."""
        found = self.seen.get(id(value))
        if found is None:
            found = self.seen[id(value)] = self.substitute(start + name, value)
        return found
