"""What one image tells of the runs in a forward pass: which of their tensors move with it,
and lead to the score.

For adapters: the runs that `Adapter.layers` is given have it in `Run.moves`, `Run.leads`,
`Run.whole`, `Run.lies` and `Run.dense`, and `Run.fits` is the sum of them that a target layer
needs. `choose` heeds them by itself; an adapter that picks by a rule of its own takes runs for
which `run.fits` holds.

The tensors are compared in a second pass, on another picture of the same statistics; both passes
run on doubles of their own, from the same random state. Where a part of the network runs without
gradients, its outputs are leaves, as they are where they are explained.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node

from camport.core.isolation.random_state import random_state_kept
from camport.core.running.paths import Paths, alive, ancestors_first, descending
from camport.core.running.runs import Run, Runs, followed, recorded
from camport.core.running.texts import mark_texts

SAMPLES = 2048
"""Values of a tensor that are compared."""

ROUNDINGS = 4
"""Differences up to so many units in the last place, of the largest value,
are those of one computation repeated."""

Call = Callable[[nn.Module, Tensor], Any]
"""Calls a double on images, all else held fixed."""


@dataclass
class Observed:
    """The runs of one pass on one image, with their tensors in autograd's graph where there is one.

    Attributes:
        runs: in the order in which they ended.
        outputs: what the model said.
        tensors: of each run.
        start: the node at which the image comes in; None where nothing was recorded.
        nodes: of each run's tensor as the run ended.
        leaves: of the runs whose tensor was made without gradients, the node at which they set in
            again.
        entries: the leaves, that of the image first.
        samples: values of each tensor, by name and call.
        doubtful: the runs to which a path leads from the image, and whose tensors did not move with
            it.
        maps: outputs that are explained and are maps over the image, with d score / d output.
    """

    runs: Runs = field(default_factory=Runs)
    outputs: Any = None
    tensors: list[Tensor] = field(default_factory=list)
    start: Node | None = None
    nodes: list[Node | None] = field(default_factory=list)
    leaves: dict[int, Node] = field(default_factory=dict)
    entries: list[Tensor] = field(default_factory=list)
    samples: dict[tuple[str, int], Tensor] = field(default_factory=dict)
    doubtful: set[int] = field(default_factory=set)
    maps: list[tuple[Tensor, Tensor]] = field(default_factory=list)


def observe(fresh: Callable[[], nn.Module], call: Call, images: Tensor) -> Observed:
    """One pass on images [1,c,H,W] with gradients recorded, and one on another picture;
    the runs know what moves.

    Where the model does not let gradients be recorded, the pass is made without them, and what
    leads to the score stays unknown. What the model raises is raised.

    Args:
        fresh: makes a double.
        call: calls it.
        images: of one image.
    """
    try:
        with random_state_kept(images.device):
            seen = _recorded(fresh(), call, images)
    except Exception:
        # a model that calls .numpy() on what it computed, say; if it fails without gradients too,
        # it tells
        with random_state_kept(images.device):
            seen = _watched(fresh(), call, images)
    with random_state_kept(images.device):
        _mark_moving(seen, fresh, call, images)
    return seen


def mark_leading(seen: Observed, y: Tensor) -> None:
    """Marks the runs that lead to the score, carry the whole image there, and lie on it;
    without a graph, none."""
    if seen.start is None or not y.requires_grad or y.grad_fn is None:
        return
    sources = {seen.start, *(node for i, node in seen.leaves.items() if seen.runs[i].moves)}
    _mark_paths(seen, Paths(y.grad_fn, sources))
    maps = [
        run for run in seen.runs if len(run.shape) == 4 and run.plain and run.features and run.fits
    ]
    if maps and not maps[-1].whole:
        # a part without a backward pass: where the gradient is other than zero stays open
        with suppress(Exception):
            _mark_paths(seen, Paths(y.grad_fn, sources, alive(y, seen.entries)))
    mark_texts(seen.runs, seen.nodes)


def _mark_paths(seen: Observed, paths: Paths) -> None:
    if not any(node in paths.reached for node in seen.nodes):
        return
    for run, node, tensor in zip(seen.runs, seen.nodes, seen.tensors, strict=True):
        # what was written into since has another node
        run.leads = node in paths.reached or tensor.grad_fn in paths.reached
        run.whole = node in paths.whole


def mark_still(seen: Observed, chosen: Sequence[Run]) -> bool:
    """Marks runs that were chosen and have a path from the image, without moving with it;
    whether there were any.

    A path that carries nothing: maps of ones, made as `0 * x + 1`.
    """
    found = False
    for i, run in enumerate(seen.runs):
        if i in seen.doubtful and run.output in {other.output for other in chosen}:
            seen.doubtful.discard(i)
            run.moves = _carried(seen.tensors[i], seen.entries[0])
            found = found or not run.moves
    return found


def _carried(tensor: Tensor, image: Tensor) -> bool:
    """Whether a tensor depends on the image: by a gradient that small factors on the way do not
    bring to zero.

    Zeros all over tell nothing: activations that are dead on this picture, or too small for their
    type, are maps yet.
    """
    if not tensor.requires_grad:
        return False
    if not bool(tensor.any()):
        return True
    generator = torch.Generator().manual_seed(0)
    # random weights, since a normalisation holds the sum, or the squares, of what it puts out
    weights = torch.randn(tensor.shape, generator=generator).to(tensor.device, tensor.dtype)
    y = (tensor * weights).sum() * torch.finfo(tensor.dtype).max ** 0.75
    return _gradients(y, [image])[0]


def mark_dead(seen: Observed, y: Tensor, chosen: Sequence[Run]) -> bool:
    """Marks the runs at which the gradient is zero all over, where it is at all that were chosen;
    whether it was so.

    A path that carries nothing: the way to another class's maps through a concatenation of the
    outputs.
    """
    if seen.start is None or not y.requires_grad:
        return False
    index = {id(run): i for i, run in enumerate(seen.runs)}
    if any(_gradients(y, [seen.tensors[index[id(run)]] for run in chosen])):
        return False
    leading = [i for i, run in enumerate(seen.runs) if run.leads and seen.tensors[i].requires_grad]
    alive = _gradients(y, [seen.tensors[i] for i in leading])
    if not any(alive):
        return False
    for i, lives in zip(leading, alive, strict=True):
        seen.runs[i].leads = lives
    return True


def another(images: Tensor) -> Tensor:
    """Noise with the mean, the spread and the range of each channel of images [b,c,H,W]."""
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(images.shape, generator=generator, dtype=torch.float64).to(
        images.device, torch.float32
    )
    values = images.detach().float()
    mean, spread = values.mean((2, 3), keepdim=True), values.std((2, 3), keepdim=True, correction=0)
    low, high = values.amin((2, 3), keepdim=True), values.amax((2, 3), keepdim=True)
    flat = spread <= 1e-6 * mean.abs().clamp_min(1e-6)
    other = torch.where(flat, mean + noise, (mean + noise * spread).clamp(low, high))
    return other.to(images.dtype)


def _recorded(double: nn.Module, call: Call, images: Tensor) -> Observed:
    seen = Observed()
    with torch.enable_grad():
        seen.entries.append(images.detach().requires_grad_())
        start = seen.entries[0].clone()  # the model may write into it
        seen.start = start.grad_fn

        def watch(run: Run, tensor: Tensor) -> Tensor | None:
            _sample(seen, run, tensor)
            new = None
            if not tensor.requires_grad:
                with torch.inference_mode(False), torch.enable_grad():
                    leaf = tensor.clone() if tensor.is_inference() else tensor.detach()
                    new = leaf.requires_grad_().clone()
                assert new.grad_fn is not None
                seen.leaves[len(seen.nodes)] = new.grad_fn
                seen.entries.append(leaf)
            kept = tensor if new is None else new
            seen.tensors.append(kept)
            seen.nodes.append(kept.grad_fn)
            return new

        seen.runs, seen.outputs = followed(double, lambda: call(double, start), start, watch)
    return seen


def _watched(double: nn.Module, call: Call, images: Tensor) -> Observed:
    seen = Observed()
    image = images.clone()
    with torch.no_grad():
        watch = partial(_sample, seen)
        seen.runs, seen.outputs = followed(double, lambda: call(double, image), image, watch)
    return seen


def _mark_moving(
    seen: Observed, fresh: Callable[[], nn.Module], call: Call, images: Tensor
) -> None:
    # what does not run on the other picture depends on the picture
    moved = dict.fromkeys(seen.samples, True)

    def compare(run: Run, tensor: Tensor) -> None:
        key = (run.name, run.call)
        if key in seen.samples:
            moved[key] = _differ(seen.samples[key], _values(tensor))

    try:
        double = fresh()
        with torch.no_grad(), recorded(double, watch=compare):
            call(double, another(images))
    except Exception:  # not every model runs on noise
        return
    if not any(moved.values()):  # the network is saturated, or does not look at the picture
        return
    nodes = [node for node in seen.nodes if node is not None]
    made = descending(ancestors_first(nodes), [seen.start] if seen.start else [])
    for i, run in enumerate(seen.runs):
        moved_here = moved[run.name, run.call]
        # what a network of random weights makes of an image may be lost in rounding,
        # and is made of it yet
        run.moves = moved_here or (i < len(seen.nodes) and seen.nodes[i] in made)
        if run.moves and not moved_here:
            seen.doubtful.add(i)


def _sample(seen: Observed, run: Run, tensor: Tensor) -> None:
    seen.samples[run.name, run.call] = _values(tensor)


def _values(tensor: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():  # this is no part of the network's dataflow
        flat = tensor.detach().flatten()
        # an odd step does not stay in one column of maps
        return flat[:: max(1, flat.numel() // SAMPLES) | 1].clone()


def _differ(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return True
    if not a.numel():
        return False
    a, b = (v.nan_to_num() for v in (a, b))
    limit = ROUNDINGS * torch.finfo(a.dtype).eps * torch.maximum(a.abs().amax(), b.abs().amax())
    return bool((a - b).abs().amax() > limit)


def _gradients(y: Tensor, tensors: Sequence[Tensor]) -> list[bool]:
    """Whether the gradient of y at each tensor is other than zero, or not told:
    a part may have no backward pass."""
    try:
        grads = torch.autograd.grad(y.sum(), list(tensors), retain_graph=True, allow_unused=True)
    except Exception:  # the same error is raised, and told, by a method that needs the gradient
        return [True] * len(tensors)
    return [grad is not None and bool(grad.any()) for grad in grads]
