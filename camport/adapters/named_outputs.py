"""The tensors among a model's outputs by their names, and the one that a user chose."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from camport.errors import UnknownNameError


def named(outputs: Any, names: Sequence[str] = ()) -> dict[str, Tensor]:
    """Every floating-point tensor in the outputs by its dotted name: keys, fields and numbers.

    Args:
        outputs: a tensor, or tuples, dictionaries and objects of tensors.
        names: of the parts of an outermost tuple, or of the tensor, where the model tells them.
    """
    if type(outputs) in (list, tuple) and len(names) == len(outputs):
        outputs = dict(zip(names, outputs, strict=True))
    elif isinstance(outputs, Tensor) and len(names) == 1:
        outputs = {names[0]: outputs}
    return {
        name: value
        for name, value in _walk(outputs, "")
        if isinstance(value, Tensor) and value.is_floating_point()
    }


def chosen_name(chosen: str | int, tensors: Mapping[str, Tensor]) -> str:
    """The name of the output that the user chose by name or number;
    UnknownNameError where there is none."""
    if isinstance(chosen, str) and chosen in tensors:
        return chosen
    number = int(chosen) if re.fullmatch(r"-?\d+", str(chosen)) else None
    if number is None or not -len(tensors) <= number < len(tensors):
        raise UnknownNameError("output", str(chosen), tensors)
    return list(tensors)[number]


def _walk(value: Any, name: str, depth: int = 0) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Tensor):
        yield name, value
        return
    if depth > 4:
        return
    if isinstance(value, Mapping):
        parts = {str(key): part for key, part in value.items()}
    elif isinstance(value, list | tuple):
        fields = getattr(value, "_fields", None)
        parts = dict(zip(fields or map(str, range(len(value))), value, strict=True))
    elif dataclasses.is_dataclass(value) or type(value).__name__ == "SimpleNamespace":
        parts = vars(value)
    else:
        return
    for key, part in parts.items():
        yield from _walk(part, f"{name}.{key}" if name else key, depth + 1)
