"""Attention rollout."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.probe import Probe
from camport.core.running.attention import attention
from camport.errors import MethodError


@dataclass(frozen=True)
class AttentionRollout(Explainer):
    r"""Attention rollout: how much of each patch reaches the class token through all layers;
    knows no class.

    .. math:: \tilde A_l = \hat A_l \tilde A_{l-1},
    \quad \hat A_l = \tfrac{1}{2} \big(\bar A_l + I\big), \quad
              L = \tilde A_{\text{class}, \cdot}

    with the mean over heads :math:`\bar A_l` and the identity for the connection around the
    attention. Abnar and Zuidema 2020, arXiv 2005.00928, eq. 1 and section 3.

    For transformers whose attentions are all among the same tokens of the whole image (ViT, DeiT),
    fused or not; a model without, or with windows or pyramids, is refused. Where a head pools by
    attention, that is left out.

    Deviation: a model without a class token has no row to read, and the mean over all rows takes
        its place.

    Map: [b,h,w] of the patches, >= 0, at most 1.
    Cost: `1` forward pass.

    Args:
        heads: "mean"; or the "max" or "min" over heads, whose rows are then scaled to sum to 1.
        read: the row that is the map: of the "class" token, the first one or a single one behind
            the patches, or the "mean" of all; None is the class token where there is one.
    """

    name: ClassVar[str] = "attention_rollout"
    title: ClassVar[str] = "Attention rollout"
    paper: ClassVar[str] = "2005.00928"
    family: ClassVar[str] = "attention"
    needs_gradients: ClassVar[bool] = False
    needs_layer: ClassVar[bool] = False

    heads: Literal["mean", "max", "min"] = "mean"
    read: Literal["class", "mean"] | None = None

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """The row of the product of all layers' attentions,
        multiplied from the last to the first."""
        seen = attention(probe)
        own = (
            0 if seen.grid.prefix else seen.maps[0].shape[-1] - 1 if seen.grid.suffix == 1 else None
        )
        if self.read == "class" and own is None:
            raise MethodError(
                f"{type(probe.double).__name__} has no class token to read; read='mean' reads all"
                " tokens"
            )
        layers = [self._mixed(p) for p in reversed(seen.maps)]
        mean = own is None or self.read == "mean"
        row = layers[0].mean(1, keepdim=True) if mean else layers[0].narrow(1, own or 0, 1)
        for layer in layers[1:]:
            row = row @ layer
        return seen.on_image(row[:, 0])

    def _mixed(self, p: Float[Tensor, "b heads n n"]) -> Float[Tensor, "b n n"]:
        one = torch.eye(p.shape[-1], dtype=p.dtype, device=p.device)
        if self.heads == "mean":
            return (p.mean(1) + one) / 2
        mixed = (p.amax(1) if self.heads == "max" else p.amin(1)) + one
        return mixed / mixed.sum(-1, keepdim=True)
