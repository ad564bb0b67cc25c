"""What a function does to the coordinates of its arguments: they are moved as its values are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from camport.core.maps.places import Places


def written(
    base: Tensor, view: Tensor, before: Places | None, places: Places, shape: tuple[int, ...]
) -> Places:
    """The places of a tensor, `before` or nowhere, with some written where a view of it lies."""
    both = []
    for of in ("rows", "columns"):
        whole = (
            torch.full(base.shape, torch.nan)
            if before is None
            else getattr(before, of).expand(base.shape).clone()
        )
        part = whole.as_strided(
            view.shape, view.stride(), view.storage_offset() - base.storage_offset()
        )
        part.copy_(getattr(places, of).expand(shape))
        both.append(whole)
    return Places(*both).moved(tuple(base.shape), True, lambda v: v)[0]


def padded(
    places: Places, sides: Sequence[int], before: tuple[int, ...], shape: tuple[int, ...]
) -> Places:
    """Those of a padded tensor of shape `before`; as they were,
    where an edge of one place was added."""
    new, old = places.padded(sides, before), places.carried(before, shape, None)
    return old if old is not None and new.nearly(old, before) else new


def reach(name: str, args: Any, kwargs: Mapping[str, Any]) -> int:
    """How many places beside an image a window may see that were put there for it:
    its own padding, written apart."""
    if name == "conv2d":
        names = ("input", "weight", "bias", "stride", "padding", "dilation")
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        if not _most(given.get("padding", 0)):
            return (max(given["weight"].shape[2:]) - 1) * max(1, _most(given.get("dilation", 1)))
    elif "pool" in name and "adaptive" not in name:
        return max(1, _most(kwargs.get("kernel_size", args[1] if len(args) > 1 else 1)) - 1)
    return 1


def _most(value: Any) -> int:
    """The largest of an option that is one number or one for each axis; 1 for a word."""
    return (
        1
        if isinstance(value, str)
        else int(value)
        if isinstance(value, int)
        else max(map(int, value))
    )


def apart(
    name: str,
    args: Any,
    kwargs: Mapping[str, Any],
    each: list[tuple[list[Places], tuple[int, ...]]],
    shape: Any,
) -> list[Places] | None:
    """The places of all parts, where they are joined along an axis of the batch or the channels;
    None elsewhere."""
    axis = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else 0)) % len(shape)
    found = []
    for parts, _ in each:
        for places in parts:
            both = (places.rows, places.columns)
            if name == "stack":
                found.append(Places(*(v.unsqueeze(axis) for v in both)))
            elif all(v.shape[axis] == 1 for v in both):
                found.append(places)
            else:
                return None
    return found


def applied(
    name: str,
    func: Any,
    args: Any,
    kwargs: Mapping[str, Any],
    chosen: Mapping[int, tuple[Places, tuple[int, ...]]],
    of: str,
    whole: bool,
) -> list[Tensor]:
    """The results of a moving function for one coordinate of the places of its arguments."""

    def exchanged(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        if id(value) in chosen:
            places, shape = chosen[id(value)]
            values = getattr(places, of)
            return values if whole else values.expand(shape).clone()
        # what is not of the image lies nowhere on it; indices tell of places
        if name == "grid_sample":
            return value.detach().cpu().float()
        return torch.full(value.shape, torch.nan) if value.is_floating_point() else value.cpu()

    new_args, new_kwargs = tree_map(exchanged, (tuple(args), dict(kwargs)))
    if name in ("view", "view_as"):
        rest = (new_args[1].shape,) if name == "view_as" else new_args[1:]
        result = new_args[0].reshape(*rest, **new_kwargs)
    else:
        result = func(*new_args, **new_kwargs)
    if name == "grid_sample":  # outside of the image it puts zeros
        ones = func(torch.ones_like(new_args[0]), *new_args[1:], **new_kwargs)
        result = torch.where(ones > 1 - 1e-3, result / ones, torch.nan)
    result = new_args[0] if name == "__setitem__" else result
    return [v for v in tree_leaves(result) if isinstance(v, Tensor) and v.is_floating_point()]
