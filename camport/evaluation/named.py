"""Methods and metrics by name with their options: `rise`, `rise(samples=500)`."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from camport.errors import InputError

T = TypeVar("T")


def made(text: str | T, find: Callable[[str], type[T]]) -> T:
    """An instance of what `text` names, or `text` itself where it is one.

    Args:
        text: NAME or NAME(option=value, ...), values as Python writes them.
        find: gives the class of a name, and raises for an unknown one.

    Raises:
        InputError: text of another form, or options that the class does not take.
    """
    if not isinstance(text, str):
        return text
    name, bracket, rest = text.partition("(")
    cls = find(name.strip())
    if not bracket:
        return cls()
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args:
            raise ValueError("options have names")
        options = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise InputError(f"{text!r}: {error}; write {name}(option=value, ...)") from None
    for option in options:
        if option not in _options(cls):
            raise no_option(f"{option} in {text!r}", cls.name, _options(cls))  # type: ignore[attr-defined]  # what is registered has a name
    try:
        return cls(**options)
    except TypeError as error:
        raise InputError(
            f"{text!r}: {error}; options are {', '.join(_options(cls)) or 'none'}"
        ) from None


def no_option(given: str, owner: str, there: Iterable[str]) -> InputError:
    """What to raise for an option that `owner` does not have, and what there is."""
    return InputError(
        f"{given}: {owner} has no such option; there is: {', '.join(sorted(there)) or 'none'}"
    )


def key(thing: Any) -> str:
    """Name and options other than the defaults, as `made` reads them."""
    options = dataclasses.fields(thing) if dataclasses.is_dataclass(thing) else ()
    changed = [
        f"{f.name}={getattr(thing, f.name)!r}"
        for f in options
        if f.init and getattr(thing, f.name) != _default(f)
    ]
    return str(thing.name) + (f"({', '.join(changed)})" if changed else "")


def _default(field: "dataclasses.Field[Any]") -> Any:
    return (
        field.default_factory()
        if field.default_factory is not dataclasses.MISSING
        else field.default
    )


def _options(cls: type) -> list[str]:
    return [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []
