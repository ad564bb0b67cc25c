"""A private double of a model that shares its tensors: hooks,
modes and caches set on it never reach the user's.

Why a double and not the model itself: explaining needs evaluation mode, forward hooks and
parameters that do not record. Set on the user's model these would be seen by other threads and
would stay behind when something raises. A double costs about a millisecond and nothing has to be
undone.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.hooks import RemovableHandle

from camport.core.isolation.compiled import original
from camport.core.isolation.copying import ATOMS, Copier
from camport.core.isolation.scripts import double_of_script
from camport.core.isolation.writes import ALL, is_known, written_by

Kinds = Callable[[type[nn.Module]], type[nn.Module]]
"""Which class a module of some class has in a double:
one that derives from it and computes the same."""

Substitute = Callable[[str, Tensor, bool], Tensor]
"""Gives what takes the place of a tensor: of its dotted name, the tensor,
and whether it is only read in evaluation."""

_OWN = frozenset(nn.Module().__dict__)
"""Attributes that every module has; the others are its class's."""
_HOOKS = (
    "_backward_pre_hooks",
    "_backward_hooks",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_hooks_always_called",
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
)
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
ORIGIN = "_origin_of_double"
"""The attribute of a double that tells what it stands for."""


@dataclass
class Origin:
    """What a double stands for.

    Attributes:
        model: the user's.
        modules: the user's modules and their names, by identity.
        parameters: of the double, by name.
        scripted: whether a part of it is torch.jit's.
        shares: whether parameters are the user's own.
        known: whether it was known, when the double was made, into which of them the model writes.
    """

    model: nn.Module
    modules: dict[int, tuple[str, nn.Module]] = field(default_factory=dict)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    scripted: bool = False
    shares: bool = True
    known: bool = False


def same(kind: type[nn.Module]) -> type[nn.Module]:
    """The class itself."""
    return kind


def replicate(model: nn.Module, substitute: Substitute, kind_of: Kinds = same) -> nn.Module:
    """The double of `model` in evaluation mode, each tensor replaced by `substitute`.

    A tensor that is reachable by several names is substituted once, under its first name. A
    double's class is `kind_of` its original's: not a `forward` of its own, which would refer to its
    module, and such circles wait for a garbage collection. A compiled part is what it was compiled
    from. A module that is no submodule of the model but reached from one by other ways keeps its
    mode, as with `model.eval()`.
    """
    return _Replica(model, substitute, kind_of).made()


class _Replica:
    def __init__(self, model: nn.Module, substitute: Substitute, kind_of: Kinds) -> None:
        self.origin, self.substitute, self.kind_of = Origin(model), substitute, kind_of
        self.doubles: dict[int, nn.Module] = {}
        self.tensors: dict[int, Tensor] = {}
        self.names: set[str] = set()
        self.kinds: dict[type[nn.Module], type[nn.Module]] = {}
        self.waiting: list[tuple[str, nn.Module]] = []
        self.copy = Copier(self.double, self.tensor)

    def made(self) -> nn.Module:
        """The double."""
        for name, module in _visited(self.origin.model):
            self.double(module, name)
        registered = list(self.waiting)
        for name, module in registered:
            self._name(module, name)
        for i, (name, module) in enumerate(self.waiting):  # it grows meanwhile
            self._fill(module, name, i < len(registered))
        root = self.double(self.origin.model, "")
        self.copy.end()
        del self.copy  # it refers back here, and such a circle would keep the double alive
        if root is not self.origin.model:
            root.__dict__[ORIGIN] = self.origin
        return root

    def double(self, module: nn.Module, name: str) -> nn.Module:
        """The double of a module that is called so, which gets its attributes in turn."""
        found = self.doubles.get(id(module))
        if found is not None:
            return found
        inner, kind = original(module), type(module)
        if inner is not module:
            found = self.double(inner, name)
        elif issubclass(kind, torch.jit.ScriptModule):
            found = double_of_script(module)
            self.origin.scripted = True
        else:
            # kind.__new__ of a torch.fx.GraphModule makes a class anew, without its forward
            if kind not in self.kinds:
                self.kinds[kind] = self.kind_of(kind)
            found = object.__new__(self.kinds[kind])
            self.waiting.append((name, module))
        self.doubles[id(module)] = found
        if found is not module:
            self.origin.modules[id(module)] = name, module
        return found

    def tensor(self, value: Tensor, name: str, read: bool = False) -> Tensor:
        """The substitute of a tensor, asked for once."""
        found = self.tensors.get(id(value))
        if found is None:
            while name in self.names:
                name += "_"
            self.names.add(name)
            found = self.tensors[id(value)] = self.substitute(name, value, read)
            if type(value) is not Tensor and is_parameter(value):
                self.origin.parameters[name] = found
        return found

    def _known(self, value: Any) -> bool:
        return id(value) in self.doubles or id(value) in self.tensors

    def _name(self, module: nn.Module, name: str) -> None:
        """Asks for the substitutes of a module's own tensors, which have their names from it."""
        start = f"{name}." if name else ""
        for key, value in module._parameters.items():
            if value is not None:
                self.tensor(value, start + key, True)
        read = _STATISTICS if isinstance(module, _NormBase) else ()
        for key, buffer in module._buffers.items():
            if buffer is not None:
                self.tensor(buffer, start + key, key in read)

    def _fill(self, module: nn.Module, name: str, registered: bool) -> None:
        if not registered:
            self._name(module, name)
        attributes = module.__dict__.copy()
        start, tensors = f"{name}." if name else "", self.tensors
        for key in ("_parameters", "_buffers"):
            held = attributes[key]
            attributes[key] = (
                {k: v if v is None else tensors[id(v)] for k, v in held.items()} if held else {}
            )
        within = attributes["_modules"]
        if within and not registered:
            attributes["_modules"] = {
                k: v if v is None else self.double(v, start + k) for k, v in within.items()
            }
        else:
            attributes["_modules"] = (
                {k: self.doubles.get(id(v)) for k, v in within.items()} if within else {}
            )
        for key, value in attributes.items():
            if key in _OWN or type(value) in ATOMS:
                continue
            if type(value) is tuple and ATOMS.issuperset(map(type, value)):
                continue
            attributes[key] = self.copy(value, start + key, self._known)
        for key in _HOOKS:
            hooks = attributes[key]
            attributes[key] = self.copy(hooks, start + key, self._known) if hooks else OrderedDict()
        attributes["_non_persistent_buffers_set"] = attributes["_non_persistent_buffers_set"].copy()
        attributes.pop("_compiled_call_impl", None)
        if registered:
            attributes["training"] = False
        object.__setattr__(self.doubles[id(module)], "__dict__", attributes)


def _visited(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Each module once with its name, as `named_modules` tells them, several times faster."""
    found: list[tuple[str, nn.Module]] = []
    _visit(model, "", found, set())
    return found


def _visit(
    module: nn.Module, name: str, found: list[tuple[str, nn.Module]], seen: set[int]
) -> None:
    seen.add(id(module))
    found.append((name, module))
    for key, child in module._modules.items():
        if child is not None and id(child) not in seen:
            _visit(child, f"{name}.{key}" if name else key, found, seen)


def origin(double: nn.Module) -> Origin | None:
    """What a double stands for; None where it is none, or a script that is its own."""
    found: Origin | None = double.__dict__.get(ORIGIN)
    return found


def double_of(model: nn.Module, kind_of: Kinds = same) -> nn.Module:
    """The double of `model` with the model's own parameters, outside autograd,
    and copies of what it may write into.

    That is every other tensor, and those of the parameters that it is known to write into.
    """
    known, written = is_known(model), written_by(model)

    def substitute(name: str, tensor: Tensor, read: bool) -> Tensor:
        if type(tensor) is Tensor or not is_parameter(tensor):
            return tensor.detach().clone()
        if written is not ALL and name not in written:
            return plain(tensor)
        # `self.weight += 1` assigns, which a module allows to parameters alone
        return nn.Parameter(tensor.detach().clone(), requires_grad=False)

    double = replicate(model, substitute, kind_of)
    about = origin(double)
    if about is not None:
        about.known, about.shares = known, written is not ALL
    return double


def tensors(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor of `model` by dotted name: parameters, buffers and those in attributes;
    shared ones once."""
    found: dict[str, Tensor] = {}

    def note(name: str, tensor: Tensor, read: bool) -> Tensor:
        found[name] = plain(tensor)
        return tensor

    replicate(model, note)
    return found


def with_state(model: nn.Module, state: Mapping[str, Tensor], kind_of: Kinds = same) -> nn.Module:
    """The double of `model` that computes with `state` instead of the model's own tensors,
    and writes into none."""
    written = written_by(model) or ()
    read_only = lambda name, read: read and name not in written  # noqa: E731
    return replicate(
        model, lambda n, _, read: state[n] if read_only(n, read) else state[n].clone(), kind_of
    )


def hook(double: nn.Module, after: Callable[..., Any]) -> RemovableHandle:
    """Registers a forward hook on a double, before the hooks that the user's module has.

    So what these keep of an output is what `after` makes of it.
    """
    return double.register_forward_hook(after, prepend=True)


def pre_hook(double: nn.Module, before: Callable[..., Any]) -> RemovableHandle:
    """Registers a forward pre-hook on a double,
    which sees what the user's own hooks make of the arguments."""
    return double.register_forward_pre_hook(before)


def plain(tensor: Tensor) -> Tensor:
    """`tensor` outside autograd, sharing memory where possible;
    an inference tensor has to be copied."""
    # never the tensor itself: what is assigned to its `data` would be the user's
    return tensor.clone() if tensor.is_inference() else tensor.detach()


def is_parameter(tensor: Tensor) -> bool:
    """Whether a tensor is a parameter, of a class of its own perhaps."""
    return type(tensor) is nn.Parameter or isinstance(tensor, nn.Parameter)
