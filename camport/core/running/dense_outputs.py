"""Networks whose output is a map over the image: where their features end, and what is the output
itself.

Grad-CAM of such a network is explained where an encoder's maps are deepest (Seg-Grad-CAM,
2002.11434, section 3). The decoder's last maps are nearly the output, and the output explained at
itself is the prediction, painted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from camport.core.maps.token_grid import MAX_PREFIX
from camport.core.running.call_model import without_graph
from camport.core.running.dependence import Observed
from camport.core.running.derivative import by_outputs
from camport.core.running.runs import Run, attends

STAGE = 4
"""An attention among up to so many times the cells of the smallest maps is the encoder's end: a
transformer's."""

FINE = 4
"""An output [b,h,w] is a map where a cell is at most so many pixels high and wide; a coarser one
may be anything."""


def mark_dense(seen: Observed, outputs: Any, score: Callable[[Any], Tensor], image: Tensor) -> None:
    """Marks the runs behind the deepest features, where what is explained of the outputs is a map.

    Args:
        seen: the runs; its outputs carry autograd's graph.
        outputs: the same, detached.
        score: of outputs.
        image: [1,c,H,W].
    """
    leaves = _floating(seen.outputs)
    if seen.start is None or not any(
        leaf.requires_grad and _is_map(leaf, image) for leaf in leaves
    ):
        return
    weights = by_outputs(outputs, score)
    seen.maps = [
        (leaf, weight)
        for leaf, weight in zip(leaves, weights, strict=True)
        if bool(weight.any()) and leaf.requires_grad and _is_map(leaf, image)
    ]
    end = _deepest(seen.runs, image) if seen.maps else None
    if end is not None:
        for run in seen.runs[end + 1 :]:
            run.dense = True


def is_explained(outputs: Any, score: Callable[[Any], Tensor], tensor: Tensor) -> bool:
    """Whether a tensor is an output of which the score is computed, or holds it as a part."""
    leaves = _floating(outputs)
    own = [_share(leaf, tensor) for leaf in leaves]
    if not any(own):
        return False
    weights = by_outputs(without_graph(outputs), score)
    return any(held and bool(weight.any()) for held, weight in zip(own, weights, strict=True))


def _share(a: Tensor, b: Tensor) -> bool:
    dense = a.layout == b.layout == torch.strided
    return a is b or (dense and a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr())


def echoes(seen: Observed, run: Run) -> bool:
    """Whether a run's tensor is an explained output map but for views, elementwise functions,
    softmax and resampling.

    A value of the output is then made of one channel of as many as the output has, or is a softmax
    of one cell.
    """
    tensor = (
        next(t for r, t in zip(seen.runs, seen.tensors, strict=True) if r is run)
        if seen.maps
        else None
    )
    return tensor is not None and any(_echo(out, weight, tensor) for out, weight in seen.maps)


def _echo(output: Tensor, weight: Tensor, tensor: Tensor) -> bool:
    if not tensor.requires_grad or tensor.dim() not in (3, 4):
        return False
    if tensor.dim() == 3 and tensor.shape[1:] != output.shape[-2:]:  # tokens, and no map [b,h,w]
        return False
    channels, own = (v.shape[1] if v.dim() == 4 else 1 for v in (output, tensor))
    if channels != own:
        return False
    value = output.flatten()[int(weight.abs().argmax())]
    (gradient,) = torch.autograd.grad(value, [tensor], retain_graph=True, allow_unused=True)
    if gradient is None or not bool(gradient.any()):
        return False
    maps = gradient[0] if tensor.dim() == 4 else gradient
    if int((maps != 0).flatten(1).any(1).sum()) == 1:
        return True
    one_cell = int((maps != 0).any(0).sum()) == 1
    # what all channels have in common is nothing to a softmax over them
    return one_cell and bool(maps.sum().abs() <= 1e-3 * maps.abs().sum())


def _deepest(runs: Sequence[Run], image: Tensor) -> int | None:
    """The last run of the smallest maps, before all of the image has become a row of numbers; or
    their attention."""
    maps: dict[int, int] = {}
    attention: dict[int, int] = {}
    for i, run in enumerate(runs):
        if not run.fits:
            continue
        if run.whole and maps and len(run.shape) == 2:
            break
        if attends(run):
            attention[i] = run.shape[0] * run.shape[1]
        elif len(run.shape) == 4 and run.plain and (cells := _cells(run.shape, image)):
            maps[i] = cells
    if not maps:
        return None
    smallest = min(maps.values())
    most = STAGE * smallest + MAX_PREFIX
    fewest = min(attention.values(), default=most + 1)
    if fewest <= most:
        return max(i for i, size in attention.items() if size == fewest)
    return max(i for i, cells in maps.items() if cells == smallest)


def _cells(shape: Sequence[int], image: Tensor) -> int:
    """Cells of maps in either layout; 0 where neither has the image's sides in proportion."""
    sizes = [(h, w) for h, w in (shape[2:4], shape[1:3]) if _in_proportion(h, w, image)]
    return sizes[0][0] * sizes[0][1] if sizes else 0


def _is_map(leaf: Tensor, image: Tensor) -> bool:
    if leaf.dim() not in (3, 4) or leaf.shape[0] != 1:
        return False
    h, w = leaf.shape[-2:]
    fine = leaf.dim() == 4 or (FINE * h >= image.shape[-2] and FINE * w >= image.shape[-1])
    return fine and _in_proportion(h, w, image)


def _in_proportion(h: int, w: int, image: Tensor) -> bool:
    height, width = image.shape[-2:]
    return h > 1 and w > 1 and abs(h * width - w * height) <= max(height, width)


def _floating(outputs: Any) -> list[Tensor]:
    return [v for v in tree_leaves(outputs) if isinstance(v, Tensor) and v.is_floating_point()]
