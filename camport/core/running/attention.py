"""What the tokens of a vision transformer attend to, and how its score depends on that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.core.maps.token_grid import Grid
from camport.core.running.call_model import called
from camport.core.running.derivative import differentiate, wide
from camport.core.running.layers import LayerName
from camport.core.running.open_attention import AttentionMode
from camport.core.running.recorder import Ended, Outermost, Overwritten, Ran, Recorder, first_tensor
from camport.core.running.tail import Tail, recorded
from camport.errors import LayerError, MethodError

if TYPE_CHECKING:
    from camport.core.probe import Probe

_INSTEAD = "Explain it by gradcam, or another method that needs no attention"


@dataclass(frozen=True)
class Attention:
    """The self-attentions over the image's patches, first to last.

    Attributes:
        maps: a [b,heads,n,n] each, a row for each token that looks and a column for each that is
            looked at.
        grid: which of the n tokens lie where on the image.
    """

    maps: list[Tensor]
    grid: Grid

    def on_image(self, tokens: Float[Tensor, "b n"]) -> Float[Tensor, "b h w"]:
        """One number a token as a map; class and register tokens are left out."""
        return self.grid.to_maps(tokens.unsqueeze(2))[:, 0]


def attention(probe: Probe) -> Attention:
    """The probabilities A of one forward pass; attention from a single query, a head that pools, is
    left out.

    Raises:
        MethodError: the model attends to nothing, within windows, to a part of the tokens, over
            several grids, or over none.
    """
    maps: list[Tensor] = []

    def keep(p: Tensor) -> Tensor:
        if p.shape[-2] != 1:
            maps.append(p)
        return p

    with torch.no_grad(), AttentionMode(keep):
        probe.run_with(probe.images.clone())
    return Attention([wide(p) for p in maps], _grid(probe, maps))


def sensitivity(probe: Probe, last: int | None = None) -> Attention:
    """ds/dA of each attention A, with s the score of what A's own block puts out.

    That is y^c where the mean over the block's tokens takes the place of what the last block puts
    out.

    Args:
        probe: the model.
        last: only so many of the last blocks; None is all.

    Raises:
        MethodError: as `attention`; or attention that is in no block of its own.
    """
    probe.used.add("gradients")
    with torch.enable_grad():
        try:
            seen = _Pass(probe)
        except Overwritten:
            seen = _Pass(probe, copy_at_once=True)
        grid, blocks = _grid(probe, seen.maps), seen.blocks()
        end = blocks[-1]
        layer, known = (
            LayerName(end.name, end.run),
            recorded(seen.before[: end.start], end.output, seen.images),
        )
        tail = Tail(
            probe.double, layer, partial(called, probe.adapter), probe.images, probe.target, known
        )
        found = []
        for p, block in list(zip(seen.maps, blocks, strict=True))[-(last or len(blocks)) :]:
            mean = block.tokens.mean(_axis(block.tokens, p), keepdim=True).expand_as(block.tokens)
            score = probe.adapter.score(tail(mean.clone(), 1), probe.target)
            found += differentiate(score, [p], [f"the attention in {block.name!r}"])
    return Attention(found, grid)


@dataclass
class _Block:
    """One run of a module that puts out tokens.

    Attributes:
        name: of the module.
        run: which of its runs.
        output: what it put out.
        tokens: the first tensor of that, [b,n,c] or [n,b,c].
        version: of this tensor; another later means that it was overwritten.
        attentions: which were computed in it.
        start: how many outermost modules had ended when it began.
    """

    name: str
    run: int
    output: Any
    tokens: Tensor
    version: int
    attentions: range
    start: int


class _Pass:
    """One recorded forward pass: the attentions as leaves, the modules they are in, and what ran
    before the last."""

    def __init__(self, probe: Probe, copy_at_once: bool = False) -> None:
        self.copy_at_once = copy_at_once
        self.maps: list[Tensor] = []
        self.runs: list[_Block] = []
        self.before: list[Ended] = []
        self.images = probe.images.clone()
        self._outermost = Outermost(copy_at_once)
        with Recorder(probe.double, self._end, self._begun), AttentionMode(self._keep):
            probe.run_with(self.images)
        if any(block.tokens._version != block.version for block in self.runs):
            raise Overwritten

    def blocks(self) -> list[_Block]:
        """For each attention the largest module around it that has no other in it."""
        found: dict[int, _Block] = {}
        for run in self.runs:  # a module ends behind those in it
            i = run.attentions[0]
            if len(run.attentions) == 1 and _axis(run.tokens, self.maps[i]) is not None:
                found[i] = run
        without = next((i for i in range(len(self.maps)) if i not in found), None)
        if without is not None:
            raise MethodError(
                f"attention {without + 1} of {len(self.maps)} is in no module of its own that puts"
                " out tokens [b,n,c], so there is no score behind it; attention_rollout needs none"
            )
        return [found[i] for i in range(len(self.maps))]

    def _keep(self, p: Tensor) -> Tensor:
        if p.shape[-2] == 1:
            return p
        self.maps.append(p.detach().requires_grad_())
        self.before = [ended.kept() for ended in self._outermost.ended]
        return self.maps[-1]

    def _begun(self, module: nn.Module, args: Any) -> tuple[int, tuple[int, list[int]]]:
        return len(self.maps), self._outermost.begun()

    def _end(self, ran: Ran) -> None:
        first, outermost = ran.begun
        within, tokens = range(first, len(self.maps)), first_tensor(ran.output)
        if within and tokens is not None and tokens.dim() == 3:
            tokens = tokens.clone() if self.copy_at_once else tokens
            start, _ = outermost
            self.runs.append(
                _Block(ran.name, ran.index, ran.output, tokens, tokens._version, within, start)
            )
        self._outermost.end(ran, outermost)


def _axis(tokens: Tensor, p: Tensor) -> int | None:
    """The axis of the tokens in a module's output [b,n,c] or [n,b,c]."""
    b, n = p.shape[0], p.shape[-1]
    if tokens.shape[:2] == (b, n):
        return 1
    return 0 if tokens.shape[:2] == (n, b) else None


def _grid(probe: Probe, maps: Sequence[Tensor]) -> Grid:
    """Where the tokens lie, as the adapter reads it from tokens of any width, [b,n,...]."""
    _check(probe, maps)
    size = (probe.images.shape[-2], probe.images.shape[-1])
    try:
        grid = probe.adapter.grid(maps[-1][:, 0], size, probe.double, probe.double, "attention")
    except LayerError as error:
        raise MethodError(
            f"{type(probe.double).__name__} attends among {maps[-1].shape[-1]} tokens, which fit no"
            f" grid over an image of {size[0]}x{size[1]}. If they are patches, give the adapter"
            " their grid, e.g. ClassificationAdapter(patch_grid=(h, w)); if they are channels:"
            f" {_INSTEAD[0].lower()}{_INSTEAD[1:]}"
        ) from error
    n, images = maps[-1].shape[-1], probe.images
    placed = probe.evaluation.readings.orders(
        n, grid, images, probe.target, probe.adapter, probe.double
    )
    if placed is None:
        raise MethodError(
            f"{type(probe.double).__name__} attends among {n} tokens that are not in the order of"
            f" the image's rows, as those in windows or units (Hiera). {_INSTEAD} at a layer whose"
            " places lie on the image"
        )
    return placed


def _check(probe: Probe, maps: Sequence[Tensor]) -> None:
    who, b = type(probe.double).__name__, probe.images.shape[0]
    if not maps:
        raise MethodError(
            f"{who} has no attention over the image's patches: no scaled_dot_product_attention,"
            f" MultiheadAttention or softmax of [b,heads,n,n] ran. {_INSTEAD}"
        )
    for p in maps:
        if p.shape[0] != b:
            raise MethodError(
                f"{who} attends within windows: {tuple(p.shape)} for {b} images, so no attention is"
                f" over the whole image. {_INSTEAD}"
            )
        if p.shape[-1] != p.shape[-2]:
            raise MethodError(
                f"{who} attends from {p.shape[-2]} tokens to {p.shape[-1]}, not among the same"
                f" ones, which cannot be followed from layer to layer. {_INSTEAD}"
            )
    sizes = sorted({p.shape[-1] for p in maps})
    if len(sizes) > 1:
        raise MethodError(
            f"{who} attends over {len(sizes)} numbers of tokens ({', '.join(map(str, sizes))}),"
            f" which cannot be followed from layer to layer. {_INSTEAD}"
        )
