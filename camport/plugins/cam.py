"""CAM, the class activation map."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.core.explainer import Explainer
from camport.core.probe import Probe
from camport.errors import MethodError

TOLERANCE, ROUNDINGS = 1e-3, 4
"""Up to this relative difference, or so many roundings of the logits,
the head counts as pooling and a linear layer."""


@dataclass(frozen=True)
class CAM(Explainer):
    r"""CAM: the classifier's own weights, applied before pooling instead of behind it.

    .. math:: M_c = \sum_k w_k^c A_k

    for networks whose head is global average pooling and one linear layer w. Zhou et al. 2016,
    arXiv 1512.04150, eq. 2.

    The target layer is the one that is pooled. Any other head is refused with what was found.

    Map: [b,h,w] of the layer, signed; `mean(M_c)` plus the bias is the logit.
    Cost: `1` forward pass.
    """

    name: ClassVar[str] = "cam"
    title: ClassVar[str] = "CAM"
    paper: ClassVar[str] = "1512.04150"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = False

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """W_fc[class] . A, where the class weighs the rows of W_fc as the score weighs the
        logits."""
        (a,) = probe.activations
        weight = _linear(probe).weight.to(a.dtype)
        ((_, by_logits),) = probe.score_weights()
        class_weights = by_logits.flatten(1).to(a.dtype) @ weight
        return (class_weights[:, :, None, None] * a).sum(1)

    def check(self, probe: Probe) -> None:
        """MethodError unless the logits are global average pooling and one linear layer of the
        activations."""
        if len(probe.layers) != 1:
            raise MethodError(
                f"cam explains one layer, the one that is pooled; {len(probe.layers)} were given"
            )
        (a,) = probe.activations
        linear = _linear(probe)
        read = probe.score_weights()
        logits = read[0][0] if len(read) == 1 else None
        fits = (
            linear.in_features == a.shape[1]
            and logits is not None
            and logits.shape[-1] == linear.out_features
        )
        if fits and logits is not None:
            weight, bias = linear.weight.to(a.dtype), linear.bias
            again = a.mean((2, 3)) @ weight.T + (0 if bias is None else bias.to(a.dtype))
            tolerance = max(TOLERANCE, ROUNDINGS * torch.finfo(logits.dtype).eps)
            fits = bool((again - logits).norm() <= tolerance * logits.norm().clamp_min(1e-12))
        if not fits:
            raise MethodError(
                "cam needs global average pooling and one linear layer behind the target layer;"
                f" behind {probe.layers[0]} {tuple(a.shape)} the model ends with {_head(probe)}."
                " gradcam explains any head"
            )


def _linear(probe: Probe) -> nn.Linear:
    found = [m for m in probe.double.modules() if isinstance(m, nn.Linear)]
    if not found:
        raise MethodError(
            f"cam needs a linear layer as the model's end; {type(probe.double).__name__} has none:"
            f" {_head(probe)}"
        )
    return found[-1]


def _head(probe: Probe) -> str:
    leaves = [
        (name, m) for name, m in probe.double.named_modules() if name and not list(m.children())
    ]
    return ", ".join(f"{name} ({type(m).__name__})" for name, m in leaves[-4:])
