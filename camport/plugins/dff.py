"""DFF, deep feature factorisation."""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, fuse
from camport.core.probe import Probe
from camport.errors import GuardWarning, InputError

SETTLED = 4e-5
"""The factorisation has settled when a sweep lowers the squared error by less than this share of
it."""


@dataclass(frozen=True)
class DFF(Explainer):
    r"""DFF: activations factorised into a few concepts, each with a map of where it is;
    knows no class.

    .. math:: \min_{H, W \ge 0} \|A - H W\|_F^2, \quad A\;(hw \times c),\; H\;(hw \times n),\;
    W\;(n \times c),
              \quad L = H_{\cdot f} \|W_f\|

    Collins, Achanta and Süsstrunk 2018, arXiv 1806.10206, eq. 1.

    Deviations: the paper factorises many images at once to find what they share; here each image is
    factorised for itself, so that its map does not depend on its batch. Negative activations, which
    have no non-negative factors, count as 0, and a GuardWarning says how many. Concepts are
    numbered by their share of the activations.

    The factors are found by coordinate descent from a start that is read off the activations (the
    places that are least alike), so nothing is random. Of all concepts the maps are `concepts`.

    Map: [b,h,w] of the layer, >= 0, of the activations' scale.
    Cost: `1` forward pass, and the factorisation.

    Args:
        concepts: how many, n.
        concept: the one to show, 0 for the one with the largest share.
        sweeps: at most so many of the coordinate descent.
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "dff"
    title: ClassVar[str] = "DFF"
    paper: ClassVar[str] = "1806.10206"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = False
    exportable: ClassVar[bool] = False
    not_exportable_because: ClassVar[str] = (
        "a non-negative factorisation iterates until it settles, hundreds of steps that depend on"
        " the image, and a graph has a fixed length; eigencam is its relative that exports"
    )

    concepts: int = 4
    concept: int = 0
    sweeps: int = 500
    fusion: Fusion = "max"

    def __post_init__(self) -> None:
        if not 0 <= self.concept < self.concepts:
            raise InputError(
                f"concept {self.concept} of {self.concepts}; there are 0..{self.concepts - 1}"
            )

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """The map of one concept."""
        return fuse([self.maps(a)[:, self.concept] for a in probe.activations], self.fusion)

    def check(self, probe: Probe) -> None:
        """Warns of activations that are negative on the whole or in part."""
        for layer, a in zip(probe.layers, probe.activations, strict=True):
            share = (a < 0).double().mean().item()
            if share > 0:
                warnings.warn(
                    f"dff at {layer}: {share:.1%} of the activations are negative and count as 0,"
                    " since only non-negative ones have non-negative factors. Choose a layer"
                    " behind a ReLU, or eigencam",
                    GuardWarning,
                    stacklevel=5,
                )

    def maps(self, activations: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n h w"]:
        """The maps of all concepts, those with the largest share first."""
        h, w = activations.shape[2:]
        rows = activations.relu().flatten(2).transpose(1, 2).double()
        found = [factorised(x, self.concepts, self.sweeps)[0] for x in rows]
        return torch.stack(found).transpose(1, 2).unflatten(2, (h, w)).to(activations.dtype)


def factorised(
    x: Float[Tensor, "p c"], n: int, sweeps: int
) -> tuple[Float[Tensor, "p n"], Float[Tensor, "n c"]]:
    """Non-negative H and W with X = H W as nearly as possible; rows of W have length 1,
    largest share first.

    Hierarchical alternating least squares: each column of H and each row of W in turn takes its
    best value.
    """
    w = _start(x, n)
    h = x.new_zeros(n, x.shape[0])  # so that each concept first gets what those before it left
    whole, error, ww = x.square().sum(), torch.inf, w @ w.T
    for _ in range(sweeps):
        _descend(h, w @ x.T, ww)
        hx, hh = h @ x, h @ h.T
        _descend(w, hx, hh)
        ww = w @ w.T
        before, error = error, float(whole - 2 * (hx * w).sum() + (hh * ww).sum())
        if before - error <= SETTLED * error:
            break
    h = h.T
    lengths = w.norm(dim=1)
    order = (h.sum(0) * lengths).argsort(descending=True, stable=True)
    return (h * lengths)[:, order], (w / lengths.clamp_min(1e-300)[:, None])[order]


def _descend(
    rows: Float[Tensor, "n m"], along: Float[Tensor, "n m"], gram: Float[Tensor, "n n"]
) -> None:
    """Gives each row in turn its best value, max(0, (along - what the others take) / its own
    square), in place."""
    own = gram.diagonal().clamp_min(1e-300)[:, None]
    others = (gram / own).fill_diagonal_(0)
    for row, best, weights in zip(
        rows.unbind(), (along / own).unbind(), others.unbind(), strict=True
    ):
        row.copy_(torch.addmv(best, rows.T, weights, alpha=-1).relu_())


def _start(x: Float[Tensor, "p c"], n: int) -> Float[Tensor, "n c"]:
    """The places that are least alike: each is the longest once what the ones before explain is
    taken off."""
    rest, rows = x.clone(), []
    for _ in range(n):
        place = rest.square().sum(1).argmax()
        rows.append(x[place])
        direction = rest[place] / rest[place].norm().clamp_min(1e-300)
        rest = rest - (rest @ direction)[:, None] * direction
    return torch.stack(rows)
