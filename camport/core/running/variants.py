"""Many variants of an image, masked or noisy ones, in chunks that the memory holds."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.maps.loop import Step, current_limit, current_loop, repeat, traced
from camport.core.running.chunk_size import warn_if_short
from camport.core.running.derivative import differentiate, wide
from camport.core.running.mixing import Mixed, mixes
from camport.core.running.relu_rules import ReluMode, ReluRule

if TYPE_CHECKING:
    from camport.core.probe import Probe


def mapped(probe: Probe, codes: Sequence[Tensor], step: Step, same: Tensor | None = None) -> Tensor:
    """As `Probe.each`."""
    if same is None or traced() or current_limit().variants is not None or int(same.sum()) <= 1:
        return looped(probe, codes, step, total=False)
    other = (~same).nonzero()[:, 0]
    order = torch.cat([other, same.nonzero()[:1, 0]])
    distinct = looped(probe, [code[order] for code in codes], step, total=False)
    results = distinct.new_empty((same.shape[0], *distinct.shape[1:]))
    results[other], results[same] = distinct[:-1], distinct[-1]
    return results


def looped(probe: Probe, codes: Sequence[Tensor], step: Step, total: bool) -> Tensor:
    """The results of `step` for each chunk of codes, one behind the other, or their sum."""
    images = probe.evaluation.images
    b = probe.images.shape[0]
    chunk = probe.chunk if traced() else max(1, probe.chunk // b)
    progress = probe.progress
    if not traced():
        warn_if_short(probe.images, min(probe.chunk, codes[0].shape[0] * b))
    tick = (lambda done, of: progress(done * b, of * b)) if progress else None
    _ = probe.target  # known before the loop, so that the clean images are not run in it
    if (chunk > 1 or images.shape[0] > 1) and mixes(probe, alone=True):
        if images.shape[0] > 1:
            raise Mixed
        chunk = 1
    r, limit = codes[0].shape[0], current_limit()
    if limit.variants is None or r <= limit.variants:
        return current_loop()(step, codes, chunk, total, tick)
    limit.cut = True
    part = current_loop()(step, [code[: limit.variants] for code in codes], chunk, total, tick)
    return part if total else part[torch.arange(r, device=part.device) % limit.variants]


def scores(
    probe: Probe, images: Float[Tensor, "m r c H W"], probability: bool
) -> Float[Tensor, "m b"]:
    """As `Probe.score`."""
    images = images.to(probe.images.dtype)  # activations, and so masks of them, are wide
    if images._is_view():
        images = images.clone()  # of the clean images, say; the model may write into them
    seen, m = probe.evaluation, images.shape[0]
    seen.run()
    of = probe.adapter.probability if probability else probe.adapter.score
    with torch.no_grad():
        if images.shape[1] == 1 and probe.shared:
            outputs = seen.call(images[:, 0], 1)
            rows = [
                {k: repeat(v[r : r + 1], m) for k, v in probe.target.items()}
                for r in range(probe.y.shape[0])
            ]
            return torch.stack([wide(of(outputs, row)) for row in rows], 1)
        y = of(seen.call(images.flatten(0, 1), m), seen.repeated(m))
        return probe.extremes.note(y.unflatten(0, images.shape[:2]), y.dtype)


def input_gradients(
    probe: Probe, images: Float[Tensor, "m b c H W"] | None, relu: ReluRule | None
) -> Float[Tensor, "..."]:
    """As `Probe.input_gradient`."""
    seen = probe.evaluation
    leaf = (probe.images if images is None else images.flatten(0, 1)).detach().requires_grad_()
    mode = ReluMode(relu) if relu else None
    with torch.enable_grad(), mode or nullcontext():
        outputs = (
            probe.run_with(leaf.clone())
            if images is None
            else seen.call(leaf.clone(), images.shape[0])
        )
        y = probe.adapter.score(
            outputs, probe.target if images is None else seen.repeated(images.shape[0])
        )
    if mode:
        probe.relus_met = mode.met
    (gradient,) = differentiate(y, [leaf], ["the images"])
    return gradient if images is None else gradient.unflatten(0, images.shape[:2])
