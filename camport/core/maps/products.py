"""Where the places of an image lie in a product of tensors:
on the axes of an argument that are not summed over."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from camport.core.maps.places import PATCH, Places, spread

Operand = tuple[Tensor, list[Places], tuple[int, ...]]


def multiplied(name: str, args: Any, taken: Sequence[Operand]) -> list[Places] | None:
    """The places of a product of two tensors, by the axes that each argument hands on;
    None where that is not told.

    The weights of an attention, q k^T, have those of the queries along one axis and those of the
    keys along the other; of its result, the weighted sum over the keys, the first are left.

    Args:
        name: of the function.
        args: its arguments.
        taken: those that are made of the image, with their places and shapes.
    """
    axes = _einsum(args) if name == "einsum" else _matmul(name, args)
    if axes is None:
        return None
    labels, result = axes
    found: list[Places] = []
    for operand, own in labels:
        for tensor, every, shape in taken:
            if tensor is operand:
                # what is summed over belongs together where it is a patch,
                # but not the window of an attention
                together = PATCH if len(taken) == 1 else 0.0
                new = (_handed_on(places, shape, own, result, together) for places in every)
                found.extend(places for places in new if places is not None)
    return found


def _handed_on(
    places: Places, shape: Sequence[int], own: str, result: str, together: float
) -> Places | None:
    """Those of an argument with axes `own` in a result with axes `result`;
    None where they are summed over."""
    both = []
    for values in (places.rows, places.columns):
        if values.dim() != len(shape):
            raise ValueError("places of another number of axes")
        for axis, label in enumerate(own):
            if values.shape[axis] > 1 and label not in result:
                if spread(values, axis) > together:
                    return None
                values = values.nanmean(axis, keepdim=True)
        lengths = {label: n for label, n in zip(own, values.shape, strict=True) if label in result}
        kept = [label for label in own if label in result]
        values = values.reshape([lengths[label] for label in kept])
        values = values.permute([kept.index(label) for label in result if label in kept])
        both.append(values.reshape([lengths.get(label, 1) for label in result]))
    return Places(*both)


def _matmul(name: str, args: Any) -> tuple[list[tuple[Tensor, str]], str] | None:
    left, right = (args[1], args[0]) if name == "__rmatmul__" else args[:2]
    n = max(left.dim(), right.dim())
    if min(left.dim(), right.dim()) < 2:
        return None
    batch = "ABCDEFGHIJKLMNOP"[: n - 2]
    labels = [(left, batch[n - left.dim() :] + "ik"), (right, batch[n - right.dim() :] + "kj")]
    return labels, batch + "ij"


def _einsum(args: Any) -> tuple[list[tuple[Tensor, str]], str] | None:
    if not isinstance(args[0], str) or "->" not in args[0] or "." in args[0]:
        return None
    own, result = args[0].replace(" ", "").split("->")
    operands = args[1] if len(args) == 2 and isinstance(args[1], list | tuple) else args[1:]
    return list(zip(operands, own.split(","), strict=True)), result
