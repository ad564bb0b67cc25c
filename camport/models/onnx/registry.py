"""Which operators camport imports: pure functions by ONNX name and by the opset from which they
hold.

An operator's function takes the ONNX inputs by position and the attributes by name. Many attributes
became inputs at some opset (axes, pads, scales): such a parameter takes either, so one function
serves all opsets.
"""

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


@dataclass(frozen=True)
class Operator:
    """One operator from one opset on.

    Attributes:
        name: as in ONNX's standard domain.
        since: first opset of this meaning.
        function: from tensors and attributes to a tensor, or to a tuple of them.
        static: parameters whose constants are handed over as `Small`, since the function needs
            numbers.
        scalar: likewise, where the constant has one element; larger ones are tensors.
    """

    name: str
    since: int
    function: Callable[..., Any]
    static: frozenset[str]
    scalar: frozenset[str]

    @cached_property
    def parameters(self) -> dict[str, inspect.Parameter]:
        """The function's parameters by name."""
        return dict(inspect.signature(self.function).parameters)

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """Names of the parameters that take ONNX inputs, in order, without a variadic one."""
        kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        return tuple(name for name, p in self.parameters.items() if p.kind in kinds)

    @cached_property
    def variadic(self) -> bool:
        """Whether it takes any number of inputs."""
        return any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in self.parameters.values())

    def input_name(self, index: int) -> str:
        """The parameter that takes input `index`."""
        return self.inputs[index] if index < len(self.inputs) else f"input_{index}"


TENSORS: dict[str, list[Operator]] = {}
SMALLS: dict[str, Operator] = {}


def operator(
    *names: str, since: int = 1, static: Sequence[str] = (), scalar: Sequence[str] = ()
) -> Callable[[Function], Function]:
    """Registers a function of tensors as the ONNX operators `names`."""

    def register(function: Function) -> Function:
        for name in names:
            found = Operator(name, since, function, frozenset(static), frozenset(scalar))
            TENSORS.setdefault(name, []).append(found)
        return function

    return register


def small_operator(*names: str) -> Callable[[Function], Function]:
    """Registers a function of `Small` values as the ONNX operators `names`,
    for the arithmetic of shapes."""

    def register(function: Function) -> Function:
        for name in names:
            SMALLS[name] = Operator(name, 1, function, frozenset(), frozenset())
        return function

    return register
