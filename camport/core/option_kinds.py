"""Options of the kind that their class declares: checked before the instance is made,
by its fields' annotations."""

import dataclasses
import math
import numbers
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Union

from camport.errors import InputError


class Checked:
    """A base whose dataclass subclasses refuse options of another kind than they declare.

    A `__post_init__` compares values and may then rely on their kinds.
    """

    def __new__(cls, *args: Any, **options: Any) -> "typing.Self":
        """A bare instance.

        Raises:
            InputError: an option of a wrong kind, a number that is NaN, or a text that is none of
                those declared.
        """
        fields: Any = getattr(cls, "__dataclass_fields__", None)
        if (args or options) and fields is not None:
            check_options(cls, args, options)
        return super().__new__(cls)


def check_options(cls: Any, args: Sequence[Any], options: Mapping[str, Any]) -> None:
    """Refuses options of a dataclass by its annotations; what these leave open is taken."""
    try:
        hints = typing.get_type_hints(cls)
    except Exception:  # names that are imported for type checkers alone
        return
    names = [field.name for field in dataclasses.fields(cls) if field.init]
    for name, value in {**dict(zip(names, args, strict=False)), **options}.items():
        kind = hints.get(name, Any)
        if name not in names or fits(value, kind):
            continue
        texts = [text for text in _literals(kind) if isinstance(text, str)]
        if isinstance(value, str) and texts:
            raise InputError(f"{name} is {value[:80]!r}; it is one of {', '.join(texts)}")
        raise InputError(f"{cls.__name__}: {name} is {repr(value)[:80]}; wanted {_shown(kind)}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of an annotated kind; True where that cannot be told."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(fits(value, one) for one in inner)
    if origin is Literal:
        return any(type(value) is type(one) and value == one for one in inner)
    if kind is None or kind is type(None):
        return value is None
    if kind is bool:
        return isinstance(value, bool)
    if kind is int:
        return type(value) is not bool and isinstance(value, numbers.Integral)
    if kind is float:
        return type(value) is not bool and isinstance(value, numbers.Real) and not math.isnan(value)
    if origin is tuple:
        return isinstance(value, list | tuple) and _elements_fit(value, inner)
    if Callable in (kind, origin):
        return callable(value)
    if origin is Sequence and isinstance(value, str) and inner == (str,):
        return False
    plain = origin or kind
    if (
        not isinstance(plain, type)
        or getattr(plain, "_is_protocol", False)
        or plain.__module__.startswith("jaxtyping")
    ):
        return True
    return isinstance(value, plain)


def _elements_fit(value: Sequence[Any], kinds: tuple[Any, ...]) -> bool:
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return all(fits(one, kinds[0]) for one in value)
    return len(value) == len(kinds) and all(map(fits, value, kinds))


def _literals(kind: Any) -> list[Any]:
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return list(inner)
    return (
        [text for one in inner for text in _literals(one)]
        if origin in (Union, types.UnionType)
        else []
    )


def _shown(kind: Any) -> str:
    """An annotation as a person writes it: "int | None", "one of 'paper', 'official'"."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        return " | ".join(map(_shown, inner))
    if origin is Literal:
        return f"one of {', '.join(map(repr, inner))}"
    if kind is type(None):
        return "None"
    if Callable in (kind, origin):
        return "a callable"
    if kind is float:
        return "a number"
    return (
        kind.__name__ if isinstance(kind, type) and not inner else str(kind).replace("typing.", "")
    )
