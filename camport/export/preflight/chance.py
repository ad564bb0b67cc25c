"""Which of a program's outputs depend on random numbers that its operators draw.

PyTorch draws from a generator, and so does each engine from its own: a file would answer
differently each time, and never as PyTorch did. What is drawn and then not used hurts nobody
(models that skip layers at random in training draw in evaluation too), so numbers are followed to
the outputs: whatever is computed from a number that was drawn, or written beside one into the same
memory, is drawn as well.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from camport.export.private_torch import tree_leaves


class Chance:
    """Follows random numbers through the operators of one run."""

    def __init__(self) -> None:
        self._drawn: dict[int, str] = {}
        self._kept: list[Tensor] = []  # so that no memory is used twice

    def follow(
        self,
        func: Any,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        result: Any,
        drawn: str | None,
    ) -> None:
        """Notes one call.

        Args:
            func: the operator.
            args: what it was called with.
            kwargs: likewise.
            result: what it gave.
            drawn: what to say of numbers that it draws itself, None where it draws none.
        """
        source = drawn or self.of((args, kwargs))
        if source is None:
            return
        written = [
            value for argument, value in _arguments(func, args, kwargs) if _is_written(argument)
        ]
        for value in tree_leaves((result, written)):
            if (
                isinstance(value, Tensor)
                and self._drawn.setdefault(_memory(value), source) is source
            ):
                self._kept.append(value)

    def of(self, values: Any) -> str | None:
        """What was said of the numbers that a tensor among `values` was made of;
        None where none was drawn."""
        tensors = (value for value in tree_leaves(values) if isinstance(value, Tensor))
        return next(
            (found for value in tensors if (found := self._drawn.get(_memory(value)))), None
        )


def draws(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the operator, called like this, gives random numbers:
    dropout does in training alone."""
    named = {argument.name: value for argument, value in _arguments(func, args, kwargs)}
    generator = any("Generator" in str(argument.type) for argument in func._schema.arguments)
    if not generator and torch.Tag.nondeterministic_seeded not in func.tags:
        return False
    if named.get("train") is False or named.get("training") is False:
        return False
    return all(named.get(name) != 0 for name in ("p", "dropout", "dropout_p"))


def _arguments(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[tuple[Any, Any]]:
    """The operator's arguments with the values that they have."""
    return [
        (argument, args[i] if i < len(args) else kwargs.get(argument.name, argument.default_value))
        for i, argument in enumerate(func._schema.arguments)
    ]


def _is_written(argument: Any) -> bool:
    return argument.alias_info is not None and bool(argument.alias_info.is_write)


def _memory(value: Tensor) -> int:
    try:
        return int(value.untyped_storage()._cdata)
    except NotImplementedError:  # a sparse tensor has no memory of its own
        return id(value)
