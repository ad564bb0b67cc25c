"""What an object refers to, and which objects lie between one and parts of a model."""

import functools
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from types import CellType, FunctionType, MemberDescriptorType, MethodType
from typing import Any

_MOST = 20_000
"""So many objects are looked at."""


def between(root: Any, known: Callable[[Any], bool]) -> set[int]:
    """Identities of the objects on every way from `root` to a known one, breadth first,
    among the nearest `_MOST`."""
    above: dict[int, list[int]] = {id(root): []}
    ends: list[int] = []
    waiting, alive = deque([root]), []
    while waiting:
        value = waiting.popleft()
        alive.append(value)
        for part in parts(value):
            if known(part):
                ends.append(id(value))
            elif id(part) in above:
                above[id(part)].append(id(value))
            elif len(above) < _MOST:
                above[id(part)] = [id(value)]
                waiting.append(part)
    found: set[int] = set()
    while ends:
        key = ends.pop()
        if key not in found:
            found.add(key)
            ends.extend(above[key])
    return found


def parts(value: Any) -> Iterator[Any]:
    """The objects that `value` refers to, as far as Python can follow: elements, attributes,
    closures, arguments."""
    kind = type(value)
    if isinstance(value, type):
        return
    if issubclass(kind, dict):
        yield from list(dict.keys(value))
        yield from list(dict.values(value))
    elif issubclass(kind, list | tuple | set | frozenset | deque):
        yield from list(value)
    elif kind is MethodType:
        yield from (value.__self__, value.__func__)
    elif kind is FunctionType:
        yield from value.__closure__ or ()
        yield from (value.__defaults__, value.__kwdefaults__)
    elif kind is CellType:
        try:
            yield value.cell_contents
        except ValueError:  # empty
            return
    elif issubclass(kind, functools.partial):
        yield from (value.func, value.args, value.keywords)
    elif issubclass(kind, weakref.ref):
        yield value()
    held = getattr(value, "__dict__", None)
    if type(held) is dict:
        yield from list(held.values())
    for _, slot in slots(kind):
        try:
            yield slot.__get__(value)
        except AttributeError:  # not set
            continue


def slots(kind: type) -> tuple[tuple[str, MemberDescriptorType], ...]:
    """Names and descriptors of the attributes that a class written in Python keeps outside of
    __dict__."""
    found = []
    for part in kind.__mro__:
        named = vars(part).get("__slots__", ())
        for key in (named,) if isinstance(named, str) else tuple(named):
            own = (
                f"_{part.__name__.lstrip('_')}{key}"
                if key.startswith("__") and not key.endswith("__")
                else key
            )
            slot = vars(part).get(own)
            if isinstance(slot, MemberDescriptorType):
                found.append((own, slot))
    return tuple(found)
