"""Copies of what a module holds beside its tensors and submodules: containers, objects, functions,
of any depth.

What a `forward` may write into is copied, identities and cycles among the copies are those of the
originals, and whatever refers to a module of the model refers to its double. Not copied is what the
model does not own: classes, functions that a Python module holds, objects of the standard library
and of PyTorch that are no part of a network.
"""

import copy
import functools
import random
import sys
import weakref
from array import array
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from enum import Enum
from types import (
    BuiltinFunctionType,
    CellType,
    FunctionType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    SimpleNamespace,
)
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camport.core.isolation.compiled import uncompiled
from camport.core.isolation.reach import between, slots

ATOMS = frozenset(
    {
        int,
        float,
        bool,
        str,
        bytes,
        complex,
        range,
        slice,
        type,
        type(None),
        type(...),
        type(NotImplemented),
        object,
    }
    | {torch.device, torch.dtype, torch.Size, torch.layout, torch.memory_format, ModuleType}
)
"""Classes whose objects are never copied."""

_LARGEST = 5000
"""Of larger structures only what leads to a part of the model is copied."""
_DEEPEST = 100

_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class that was written in Python, for most
_BASES = (
    object,
    dict,
    list,
    set,
    frozenset,
    tuple,
    deque,
    OrderedDict,
    defaultdict,
    SimpleNamespace,
)
_STANDARD = sys.stdlib_module_names - {
    "__main__",
    "argparse",
    "collections",
    "dataclasses",
    "types",
    "weakref",
}
_OF_NETWORKS = ("torch.nn.", "torch.distributions.")


class TooLarge(Exception):
    """More than `_LARGEST` objects hang together."""


class Copier:
    """Copies values, each object once.

    Args:
        module: the double of a module that is called so.
        tensor: what takes the place of a tensor that is called so.
    """

    def __init__(
        self, module: Callable[[nn.Module, str], nn.Module], tensor: Callable[[Tensor, str], Tensor]
    ) -> None:
        self._module, self._tensor = module, tensor
        self._copies: dict[int, Any] = {}
        self._alive: list[Any] = []  # identities stay unique while their objects live
        self._left = self._depth = 0
        self._only: set[int] | None = None
        self._ways: dict[type, Callable[[Any, str], Any]] = {}

    def __call__(self, value: Any, name: str, known: Callable[[Any], bool]) -> Any:
        """The copy of an attribute.

        Args:
            value: the attribute.
            name: its dotted name, from which those of the tensors in it are made.
            known: whether an object is a part of the model, to which a large structure may lead.
        """
        before = len(self._copies)
        self._left, self._depth = _LARGEST, 0
        try:
            return self._copied(value, name)
        except TooLarge:
            while len(self._copies) > before:
                self._copies.popitem()
        self._left, self._depth = sys.maxsize, 0
        self._only = between(value, lambda part: id(part) in self._copies or known(part))
        try:
            return self._copied(value, name)
        finally:
            self._only = None

    def end(self) -> None:
        """Lets go of what refers back to this."""
        self._ways.clear()

    def _copied(self, value: Any, name: str) -> Any:
        kind = type(value)
        if kind in ATOMS:
            return value
        key = id(value)
        if key in self._copies:
            return self._copies[key]
        if issubclass(kind, Tensor):
            return self._tensor(value, name)
        if issubclass(kind, nn.Module):
            return self._module(value, name)
        if self._only is not None and key not in self._only:
            return value
        self._left -= 1
        if self._left < 0 or (self._depth > _DEEPEST and self._only is None):
            raise TooLarge
        way = self._ways.get(kind)
        if way is None:
            way = self._ways[kind] = self._way(kind)
        self._depth += 1
        found = way(value, name)
        self._depth -= 1
        return self._noted(value, found)

    def _noted(self, value: Any, found: Any) -> Any:
        """The first copy that was made of `value`:
        a cycle through a tuple or a function makes a second one."""
        first: Any = self._copies.setdefault(id(value), found)
        return first

    def _way(self, kind: type) -> Callable[[Any, str], Any]:
        for base, way in self._known_ways().items():
            if issubclass(kind, base):
                return way
        solid = next(base for base in kind.__mro__ if not base.__flags__ & _HEAP)
        if solid not in _BASES or _is_foreign(kind):
            return _itself
        if issubclass(kind, tuple | frozenset):
            return self._fixed
        if issubclass(kind, dict):
            return self._dictionary
        return self._sequence if issubclass(kind, list | set | deque) else self._object

    def _known_ways(self) -> dict[Any, Callable[[Any, str], Any]]:
        return {
            (type, Enum): _itself,
            FunctionType: self._function,
            MethodType: self._method,
            (BuiltinFunctionType, MethodWrapperType): self._builtin_method,
            functools.partial: self._partial,
            weakref.ref: self._reference,
            CellType: self._cell,
            (np.ndarray, bytearray): lambda value, name: value.copy(),
            torch.Generator: lambda value, name: value.clone_state(),
            (random.Random, np.random.Generator, np.random.RandomState, array): lambda value, _: (
                copy.deepcopy(value)
            ),
        }

    def _fixed(self, value: Any, name: str) -> Any:
        """Tuples and frozen sets, which are themselves where nothing in them has a copy."""
        kind: Any = type(value)
        parts = [self._copied(part, f"{name}.{i}") for i, part in enumerate(value)]
        if all(map(_is, parts, value)):
            return value
        return (tuple if issubclass(kind, tuple) else frozenset).__new__(kind, parts)

    def _sequence(self, value: Any, name: str) -> Any:
        kind: Any = type(value)
        base: Any = next(base for base in (list, set, deque) if issubclass(kind, base))
        new = self._noted(value, base.__new__(kind))
        if base is deque:
            deque.__init__(new, maxlen=value.maxlen)
        parts = [self._copied(part, f"{name}.{i}") for i, part in enumerate(base.__iter__(value))]
        (base.update if base is set else base.extend)(new, parts)
        return self._with_state(value, new, name)

    def _dictionary(self, value: Any, name: str) -> Any:
        kind: Any = type(value)
        base: Any = next(
            base for base in (OrderedDict, defaultdict, dict) if issubclass(kind, base)
        )
        new = self._noted(value, base.__new__(kind))
        if base is defaultdict:
            new.default_factory = self._copied(value.default_factory, name)
        for key, part in list(base.items(value)):
            base.__setitem__(
                new,
                self._copied(key, f"{name}.{key!s:.40}"),
                self._copied(part, f"{name}.{key!s:.40}"),
            )
        return self._with_state(value, new, name)

    def _object(self, value: Any, name: str) -> Any:
        kind: Any = type(value)
        base: Any = SimpleNamespace if issubclass(kind, SimpleNamespace) else object
        try:
            new = base.__new__(kind)
        except TypeError:
            # made by another language, as an engine's session: shared,
            # since nobody else can make one
            return value
        return self._with_state(value, self._noted(value, new), name)

    def _with_state(self, value: Any, new: Any, name: str) -> Any:
        """`new` with copies of the attributes of `value`,
        set without its class's own __setattr__."""
        held = getattr(value, "__dict__", None)
        if type(held) is dict:
            new.__dict__.update(
                {key: self._copied(part, f"{name}.{key}") for key, part in list(held.items())}
            )
        for key, slot in slots(type(value)):
            try:
                part = slot.__get__(value)
            except AttributeError:  # not set
                continue
            slot.__set__(new, self._copied(part, f"{name}.{key}"))
        return new

    def _function(self, value: FunctionType, name: str) -> Any:
        inner = uncompiled(value)
        if inner is not value:
            return self._copied(inner, name)
        if _is_held(value) or not (
            value.__closure__ or value.__defaults__ or value.__kwdefaults__ or value.__dict__
        ):
            return value
        cells = value.__closure__ or ()
        fresh = [cell for cell in cells if id(cell) not in self._copies]
        closure = tuple(self._noted(cell, CellType()) for cell in cells)
        new = FunctionType(value.__code__, value.__globals__, value.__name__, None, closure or None)
        self._noted(value, new)
        for cell in fresh:
            self._cell(cell, name)
        new.__defaults__ = self._copied(value.__defaults__, name)
        new.__kwdefaults__ = self._copied(value.__kwdefaults__, name)
        new.__dict__.update(
            {key: self._copied(part, f"{name}.{key}") for key, part in list(value.__dict__.items())}
        )
        new.__qualname__, new.__module__, new.__doc__ = (
            value.__qualname__,
            value.__module__,
            value.__doc__,
        )
        return new

    def _cell(self, value: CellType, name: str) -> Any:
        new = self._noted(value, CellType())
        try:
            content = value.cell_contents
        except ValueError:  # empty
            return new
        new.cell_contents = self._copied(content, name)
        return new

    def _method(self, value: MethodType, name: str) -> Any:
        owner, function = self._copied(value.__self__, name), self._copied(value.__func__, name)
        return (
            value
            if owner is value.__self__ and function is value.__func__
            else MethodType(function, owner)
        )

    def _builtin_method(self, value: Any, name: str) -> Any:
        owner = getattr(value, "__self__", None)
        if owner is None or type(owner) in ATOMS:
            return value
        new = self._copied(owner, name)
        return value if new is owner else getattr(new, value.__name__)

    def _partial(self, value: Any, name: str) -> Any:
        kind: Any = type(value)
        function, arguments = self._copied(value.func, name), self._copied(value.args, name)
        keywords = {
            key: self._copied(part, f"{name}.{key}") for key, part in value.keywords.items()
        }
        new = functools.partial.__new__(kind, function, *arguments, **keywords)
        return self._with_state(value, new, name)

    def _reference(self, value: Any, name: str) -> Any:
        target = value()
        self._alive.append(target)
        new = self._copied(target, name)
        self._alive.append(new)
        return value if new is target else weakref.ref(new)


def _itself(value: Any, name: str) -> Any:
    return value


def _is(a: Any, b: Any) -> bool:
    return a is b


def _is_held(function: FunctionType) -> bool:
    """Whether a Python module has this function under its name, so that it is nobody's own."""
    return (
        getattr(sys.modules.get(function.__module__ or ""), function.__qualname__, None) is function
    )


def _is_foreign(kind: type) -> bool:
    """Whether objects of a class are no part of a network,
    or say that nothing is written into them.

    No part of a network are those of the standard library and of PyTorch, and owners of resources.
    """
    if kind in _BASES:
        return False
    if getattr(kind, "__immutable__", False) is True:
        return True
    module = str(kind.__module__)
    room = module.partition(".")[0]
    if room == "torch":
        return not f"{module}.".startswith(_OF_NETWORKS)
    return room in _STANDARD or room == "numpy" or hasattr(kind, "__del__")
