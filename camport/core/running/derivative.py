"""First and second derivatives of the score, with errors that name what the score does not depend
on."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

from camport.errors import CamportError, LayerError, ModelError

_REMEDY = (
    "choose a later layer, so that the gradient does not pass through it, or a method without"
    " gradients (eigencam)"
)

HALF_SCALE = 256.0
"""Gradients of a half-precision model are computed for this multiple of the score,
since they would underflow."""


class NoPathError(LayerError):
    """The score does not depend on what it was differentiated with respect to."""


def differentiate(
    y: Tensor, leaves: list[Tensor], names: list[str], zeros: bool = False
) -> list[Tensor]:
    """dy/d each leaf, in float32 or wider; LayerError where no path leads from one to the score, or
    `zeros`.
    """
    if not y.requires_grad:
        raise NoPathError(
            f"the score does not depend on {', '.join(names)}: no differentiable path leads there"
        )
    scale = _scale(leaves)
    grads: Sequence[Tensor | None] = _grad(y.sum() * scale if scale != 1 else y.sum(), leaves)
    for name, grad in zip(names, grads, strict=True):
        if grad is None and not zeros:
            raise NoPathError(
                f"the score does not depend on {name}: no path leads from it to the score"
            )
    found = [torch.zeros_like(a) if g is None else g for a, g in zip(leaves, grads, strict=True)]
    return [wide(g) / scale if scale != 1 else wide(g) for g in found]


def differentiate_rows(
    y: Tensor, leaves: list[Tensor], names: list[str], zeros: bool = False
) -> list[Tensor]:
    """d y_r / d each leaf for every row r of y, where all rows come from one image:
    [r,...] for leaves [1,...]."""
    scale = _scale(leaves)
    if not y.requires_grad:
        raise NoPathError(
            f"the score does not depend on {', '.join(names)}: no differentiable path leads there"
        )
    found = [_grad(row * scale, leaves, retain_graph=True) for row in y.unbind(0)]
    for name, grads in zip(names, zip(*found, strict=True), strict=True):
        if all(grad is None for grad in grads) and not zeros:
            raise NoPathError(
                f"the score does not depend on {name}: no path leads from it to the score"
            )
    return [
        torch.cat(
            [torch.zeros_like(leaf) if grad is None else wide(grad) / scale for grad in grads]
        )
        for leaf, grads in zip(leaves, zip(*found, strict=True), strict=True)
    ]


def hessian_products(
    y: Tensor, leaves: Sequence[Tensor], vectors: Sequence[Tensor], names: Sequence[str]
) -> tuple[list[Tensor], list[Tensor]]:
    """dy/d each leaf, and H v for each: the derivative of <dy/dA, v>, zero where dy/dA is constant.

    The graph of y is kept.
    """
    scale = _scale(leaves)
    grads = _grad(y.sum() * scale if scale != 1 else y.sum(), leaves, create_graph=True)
    for name, grad in zip(names, grads, strict=True):
        if grad is None:
            raise NoPathError(
                f"the score does not depend on {name}: no path leads from it to the score"
            )
    gradients = [wide(g.detach()) / scale for g in grads]
    along = [(g * v).sum() for g, v in zip(grads, vectors, strict=True) if g.requires_grad]
    if not along:
        return gradients, [torch.zeros_like(g) for g in gradients]
    products = _grad(torch.stack(along).sum(), leaves, retain_graph=True)
    return gradients, [
        wide(torch.zeros_like(leaf) if product is None else product) / scale
        for leaf, product in zip(leaves, products, strict=True)
    ]


def by_outputs(outputs: Any, score: Callable[[Any], Tensor]) -> list[Tensor]:
    """d score / d each floating-point tensor of a model's outputs,
    zeros for those that it does not read."""
    return [torch.zeros_like(v) if g is None else g for v, g in _by_each(outputs, score)]


def by_read(outputs: Any, score: Callable[[Any], Tensor]) -> list[tuple[Tensor, Tensor]]:
    """Each floating-point tensor of a model's outputs that the score reads, and d score / d it."""
    return [(v, g) for v, g in _by_each(outputs, score) if g is not None]


def _by_each(outputs: Any, score: Callable[[Any], Tensor]) -> list[tuple[Tensor, Tensor | None]]:
    leaves = [v for v in tree_leaves(outputs) if isinstance(v, Tensor) and v.is_floating_point()]
    fresh = {id(v): v.detach().requires_grad_() for v in leaves}
    with torch.enable_grad():
        y = score(tree_map(lambda v: fresh.get(id(v), v), outputs))
        grads = torch.autograd.grad(y.sum(), [fresh[id(v)] for v in leaves], allow_unused=True)
    return list(zip(leaves, grads, strict=True))


def _grad(y: Tensor, leaves: Sequence[Tensor], **options: Any) -> tuple[Tensor, ...]:
    try:
        return torch.autograd.grad(y, leaves, allow_unused=True, **options)
    except CamportError:
        raise
    except Exception as error:  # a model may bring backward functions of its own
        lines = str(error).strip().splitlines() or [""]
        if "is not implemented" in lines[0]:
            raise LayerError(f"the model has no gradient there: {lines[0]}; {_REMEDY}") from error
        if "modified by an inplace operation" in lines[0]:
            raise ModelError(
                "a tensor was written into before its gradient was taken: by an in-place operation"
                " of the model, or by an optimiser's step in another thread. Explain a copy of a"
                " model that is being trained, copy.deepcopy(model)"
            ) from error
        raise ModelError(
            f"the model's backward pass failed: {type(error).__name__}: {lines[0]}; {_REMEDY}"
        ) from error


def wide(tensor: Tensor) -> Tensor:
    """`tensor` in float32 or wider."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _scale(leaves: Sequence[Tensor]) -> float:
    return HALF_SCALE if any(leaf.dtype == torch.float16 for leaf in leaves) else 1.0
