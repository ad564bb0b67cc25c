"""Methods and options as the command line has them: `--method 'rise(samples=64)'`,
`--option groups=8`."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camport.errors import InputError

if TYPE_CHECKING:
    from camport.core.adapter import Adapter
    from camport.core.explainer import Explainer

Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="NAME=VALUE",
        help="Option of the method; `camport methods NAME` lists them.",
    ),
]
AdapterOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--adapter-option",
        metavar="NAME=VALUE",
        help="Option of the task's adapter, e.g. score_as=probability.",
    ),
]
ALL = "all"
"""Stands for every method."""


def methods_of(
    texts: Sequence[str] | None, options: Sequence[str] | None
) -> list[str | Explainer | None]:
    """The methods that were named, with their options; [None] where none was.

    Args:
        texts: each a name, a name with options in brackets, or `all`.
        options: NAME=VALUE, for each method that has the option.

    Raises:
        UnknownNameError: no such method.
        InputError: an option that no method has, or a value that it does not take.
    """
    values = pairs(options, "--option")
    if not texts:
        if values:
            raise InputError(
                f"--option {next(iter(values))}=... is for a method; name it by --method"
            )
        return [None]
    from camport.core import registry
    from camport.evaluation.named import made, no_option

    names = list(registry.methods()) if ALL in texts else list(dict.fromkeys(texts))
    found: list[Explainer] = [made(name, registry.explainer) for name in names]
    known = {name for one in found for name in _fields(one)}
    for name in values:
        if name not in known:
            raise no_option(f"--option {name}", ", ".join(one.name for one in found[:3]), known)
    return [_changed(one, values) for one in found]


def method_of(text: str | None, options: Sequence[str] | None) -> str | Explainer | None:
    """The one method that was named, with its options; None where none was.

    Raises:
        InputError: `all`, or as `methods_of`.
        UnknownNameError: no such method.
    """
    if text == ALL:
        raise InputError("--method all: one file holds one method; name it (camport methods)")
    return methods_of(None if text is None else [text], options)[0]


def adapter_with(adapter: str | Adapter, options: Sequence[str] | None) -> str | Adapter:
    """The task's adapter with options.

    Raises:
        InputError: an option that it does not have, or a value that it does not take.
    """
    values = pairs(options, "--adapter-option")
    if not values:
        return adapter
    from camport.core import registry
    from camport.evaluation.named import no_option

    made = registry.adapter(adapter)() if isinstance(adapter, str) else adapter
    known = _fields(made)
    for name in values:
        if name not in known:
            raise no_option(f"--adapter-option {name}", made.name, known)
    return _changed(made, values)


def pairs(texts: Sequence[str] | None, flag: str) -> dict[str, Any]:
    """NAME=VALUE by name; a value is what Python reads, and a text where it reads nothing.

    Raises:
        InputError: no NAME=VALUE.
    """
    found: dict[str, Any] = {}
    for text in texts or []:
        name, sign, value = text.partition("=")
        if not sign or not name.strip().isidentifier():
            raise InputError(f"{flag} {text}: write NAME=VALUE")
        try:
            found[name.strip()] = ast.literal_eval(value.strip())
        except (SyntaxError, ValueError):
            found[name.strip()] = value.strip()
    return found


def _fields(thing: Any) -> list[str]:
    return (
        [field.name for field in dataclasses.fields(thing)]
        if dataclasses.is_dataclass(thing)
        else []
    )


def _changed(thing: Any, values: dict[str, Any]) -> Any:
    own = {name: value for name, value in values.items() if name in _fields(thing)}
    try:
        return dataclasses.replace(thing, **own) if own else thing
    except TypeError as error:  # a value of another type, in its own __post_init__
        raise InputError(f"{thing.name} with {own}: {error}") from None
