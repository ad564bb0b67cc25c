"""What the adapters share: finding a tensor in whatever a model returns,
and reading what users pass as targets."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from camport.errors import InputError, ModelError


def found(outputs: Any, names: Sequence[str], rank: int, what: str) -> Tensor:
    """The floating-point tensor of `rank` axes under the first of `names` that is there,
    or the first of that rank.

    Raises ModelError where there is none; `what` says what was looked for, e.g. "logits [b,k,h,w]".
    """
    leaves = [v for v in tree_leaves(outputs) if isinstance(v, Tensor) and v.is_floating_point()]
    named = [
        outputs.get(n) if isinstance(outputs, Mapping) else getattr(outputs, n, None) for n in names
    ]
    for value in (*named, *leaves):
        if isinstance(value, Tensor) and value.is_floating_point() and value.dim() == rank:
            return value
    shapes = ", ".join(str(tuple(v.shape)) for v in leaves[:4]) or "no floating-point tensor"
    raise ModelError(
        f"the model returned {shapes}; this adapter reads {what}. For other tasks see `camport"
        " adapters`"
    )


def described(outputs: Any) -> str:
    """The outputs' structure in a few words."""
    leaves = [v for v in tree_leaves(outputs) if isinstance(v, Tensor)]
    shapes = ", ".join(str(list(v.shape)) for v in leaves[:5]) + (
        ", ..." if len(leaves) > 5 else ""
    )
    return f"{type(outputs).__name__} of {shapes or 'no tensor'}"


def one_hot(classes: Tensor, like: Tensor, axis: int = 1) -> Tensor:
    """1 where `axis` of `like` has the index of the class of each row, 0 elsewhere,
    with the rank of `like`.

    The product with it is indexing whose gradient exports as a plain product.
    """
    shape = [1] * like.dim()
    shape[axis] = like.shape[axis]
    index = torch.arange(like.shape[axis], device=like.device).view(shape)
    return (index == classes.view(-1, *[1] * (like.dim() - 1))).to(like.dtype)


def numbers(value: Any, name: str, shape: str, dtype: torch.dtype, device: torch.device) -> Tensor:
    """`value` as a tensor of `dtype`; InputError says that `name` wants `shape` where it is
    none."""
    try:
        tensor = torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise InputError(f"{name} {shown(value)} is no tensor; wanted {shape}") from None
    whole = (
        not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype != torch.bool
    )
    if tensor.is_complex() or not (whole or dtype.is_floating_point):
        raise InputError(
            f"{name} has dtype {str(tensor.dtype).removeprefix('torch.')}; wanted {shape}"
        )
    if tensor.is_floating_point():
        bad = int((~tensor.isfinite()).sum())
        if bad:
            raise InputError(
                f"{name} has {bad} values that are NaN or infinite; wanted {shape} of finite"
                " numbers"
            )
    return tensor.to(dtype)


def shown(value: Any) -> str:
    """A value in one short line."""
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:80]


def whole(value: Any, name: str, shape: str, device: torch.device) -> Tensor:
    """`value` as int64."""
    return numbers(value, name, shape, torch.int64, device)


def a_row_each(tensor: Tensor, rank: int, b: int, name: str, shape: str) -> Tensor:
    """`tensor` with `rank` axes and a row an image;
    one without the batch axis holds for all of them."""
    if tensor.dim() == rank - 1:
        tensor = tensor[None].expand(b, *tensor.shape)
    if tensor.dim() != rank or tensor.shape[0] != b:
        raise InputError(f"{name} has shape {tuple(tensor.shape)}; wanted {shape} with b = {b}")
    return tensor.clone()


def parts_of(target: Any, known: Sequence[str], example: str) -> dict[str, Any]:
    """A target of several parts by name; InputError for other names."""
    if not isinstance(target, Mapping):
        raise InputError(f"target {shown(target)} is not read; give e.g. {example}")
    odd = [name for name in target if name not in known]
    if odd:
        raise InputError(f"target has {odd[0]!r}; it can have {', '.join(known)}, e.g. {example}")
    return dict(target)
