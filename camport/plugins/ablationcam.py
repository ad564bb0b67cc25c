"""Ablation-CAM."""

import warnings
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.probe import Probe
from camport.errors import GuardWarning, MethodError


@dataclass(frozen=True)
class AblationCAM(Explainer):
    r"""Ablation-CAM: channels weighted by how far the score falls without each.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big),
    \quad w_k = \frac{y^c - y^c|_{A_k = 0}}{y^c}

    Desai and Ramaswamy 2020, WACV, doi 10.1109/WACV45572.2020.9093360, eq. 5 and 6.

    A channel's weight is what it adds as a whole, so a layer whose activations have one sign suits
    best: in the demo's transformer it points right in 0.86 of the cases behind the stem's ReLU, in
        0.28 behind the last normalisation.

    Where y is negative the quotient turns the weights around, which GuardWarning says;
    where y is 0 it is left out.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `2` forward passes, and `c` behind the layer, one a channel.
    """

    name: ClassVar[str] = "ablationcam"
    title: ClassVar[str] = "Ablation-CAM"
    paper: ClassVar[str] = "10.1109/WACV45572.2020.9093360"
    family: ClassVar[str] = "perturbation"
    needs_gradients: ClassVar[bool] = False

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k (y - y without A_k) / y A_k)."""
        (a,) = probe.activations
        tail, channel = probe.tail(), torch.arange(a.shape[1], device=a.device)

        def without(left_out: Tensor) -> Tensor:
            kept = (channel != left_out[:, None]).to(a.dtype)
            return tail(a * kept[:, None, :, None, None])

        dead = (a == 0).all(3).all(2).all(0)
        fall = probe.y - probe.each([channel], without, same=dead)  # [c,b]
        weights = (fall / torch.where(probe.y == 0, 1, probe.y)).T
        return (weights[:, :, None, None] * a).sum(1).relu()

    def check(self, probe: Probe) -> None:
        """MethodError for several layers; warns where the score is negative."""
        if len(probe.layers) != 1:
            raise MethodError(f"ablationcam explains one layer; {len(probe.layers)} were given")
        negative = int((probe.y < 0).sum())
        if negative:
            warnings.warn(
                f"ablationcam: the score of {negative} of {probe.y.shape[0]} images is negative,"
                " and the paper's division by it turns the weights around, so that the map shows"
                " what speaks against the target. Explain a class with a positive score, or"
                " score_as='probability'",
                GuardWarning,
                stacklevel=5,
            )
