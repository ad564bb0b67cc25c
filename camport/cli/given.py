"""Options that tasks declare (`camport.targets.options`), in the commands that have them."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from camport.errors import InputError
from camport.targets.options import OPTIONS, Option, arguments, check

if TYPE_CHECKING:
    from camport.core.adapter import Adapter

KEYWORD = inspect.Parameter.KEYWORD_ONLY
Given = Mapping[str, Any]
"""The values by the options' names; of an option that was not given, None."""
DECLARED: Given = {}
"""Default of a command's parameter `given`, which stands where the declared options do."""


def declared(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options declared for its name,
    which stand where its parameter `given` does."""
    name = command.__name__
    options = {option.name: option for option in OPTIONS if name in option.commands}
    parameters: list[inspect.Parameter] = []
    hints = typing.get_type_hints(command, include_extras=True)
    for own in inspect.signature(command).parameters.values():
        made = (
            [own.replace(kind=KEYWORD, annotation=hints[own.name])] if own.name != "given" else []
        )
        parameters += made or [_parameter(option) for option in options.values()]

    def whole(**values: Any) -> None:
        given = {name: values.pop(name) for name in options}
        command(**values, given=given)

    whole.__name__, whole.__doc__ = name, command.__doc__
    whole.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # typer reads it
    whole.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return whole


def _parameter(option: Option) -> inspect.Parameter:
    switch = option.kind is bool
    shown = typer.Option(
        option.flag,
        metavar=option.metavar or None,
        help=option.help,
        min=option.least,
        max=option.most,
    )
    kind: Any = bool if switch else option.kind | None
    return inspect.Parameter(
        option.name,
        KEYWORD,
        default=False if switch else None,
        annotation=Annotated[kind, shown],
    )


def adapter_of(task: str, given: Given) -> str | Adapter:
    """The task's adapter with the options that were given, or its name where there are none.

    Raises:
        InputError: an option, and another task.
        UnknownNameError: no such format.
    """
    found = arguments(task, given)
    if not found:
        return task
    from camport.core import registry

    return registry.adapter(task)(**found)


def single(texts: Sequence[str] | None) -> str | None:
    """The one `--target` of a task that takes one; InputError for several."""
    if texts and len(texts) > 1:
        raise InputError(f"--target {' '.join(texts)}: this task takes one")
    return texts[0] if texts else None


def told(
    task: str, texts: Sequence[str] | None, given: Given, of: str = "--adapter"
) -> tuple[str | None, Given]:
    """The class, word or answer of `--target`, and what was given with what NAME=VALUE adds to it.

    Raises:
        InputError: two of a thing that a task takes once, or what is another task's.
    """
    once = {
        option.name: option for option in OPTIONS if option.name in given and not option.adapter
    }
    rest: list[str] = []
    found = dict(given)
    for text in texts or ():
        name, equals, value = (part.strip() for part in text.partition("="))
        if not equals or name not in once or once[name].kind is bool:
            rest.append(text)
        elif once[name].kind is not str:
            found[name] = [*(found[name] or ()), value]
        elif found[name] is None:
            found[name] = value
        else:
            raise InputError(f"--target {text}: {name} is given twice")
    check(task, found, of)
    return single(rest), found
