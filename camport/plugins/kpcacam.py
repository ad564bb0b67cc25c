"""KPCA-CAM."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, fuse
from camport.core.maps.principal_component import dominant, oriented
from camport.core.probe import Probe
from camport.errors import MethodError

Kernel = Literal["sigmoid", "rbf", "poly", "linear"]
PLACES = 1024
"""More places than this (32 x 32) make a kernel matrix that takes seconds to decompose."""


@dataclass(frozen=True)
class KPCACAM(Explainer):
    r"""KPCA-CAM: the first kernel principal component of the places;
    knows no class and needs no gradient.

    .. math:: K_{ij} = \kappa(x_i, x_j), \quad \tilde K = H K H, \quad \tilde K u = \lambda_1 u,
    \quad
              L = \sqrt{\lambda_1}\, u, \quad H = I - \tfrac{1}{hw} 1 1^\top

    with x_i the activations at place i, less the mean over places. Karmani et al. 2024,
    arXiv 2410.00267, section III.

    Deviation: u is found by squaring the matrix and has the sign of the mean activation, as
    Eigen-CAM's. The sigmoid kernel has negative eigenvalues too; a multiple of the identity lifts
    them, so that the largest one is found and not the largest in magnitude.

    Map: [b,h,w] of the layer, signed, and sums to 0 over the places.
    Cost: `1` forward pass.

    Args:
        kernel: "sigmoid" tanh(gamma x.y + 1), "rbf" exp(-gamma |x - y|^2), "poly" (gamma x.y +
            1)^3, "linear" x.y.
        gamma: the kernel's width; None is 1 / channels.
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "kpcacam"
    title: ClassVar[str] = "KPCA-CAM"
    paper: ClassVar[str] = "2410.00267"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = False

    kernel: Kernel = "sigmoid"
    gamma: float | None = None
    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """sqrt(lambda_1) u of the centred kernel matrix."""
        return fuse([self._layer_map(a) for a in probe.activations], self.fusion)

    def check(self, probe: Probe) -> None:
        """MethodError for a layer with so many places that each cannot be compared with each."""
        for layer, a in zip(probe.layers, probe.activations, strict=True):
            h, w = a.shape[2:]
            if h * w > PLACES:
                raise MethodError(
                    f"kpcacam compares each place with each: {layer} has {h}x{w} = {h * w} places,"
                    f" at most {PLACES} will do; choose a deeper layer, or eigencam"
                )

    def _layer_map(self, a: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
        x = a.flatten(2).transpose(1, 2)
        x = x - x.mean(1, keepdim=True)
        k = self._kernel(x)
        k = k - k.mean(1, keepdim=True) - k.mean(2, keepdim=True) + k.mean((1, 2), keepdim=True)
        lift = (k * k).sum((1, 2), keepdim=True).sqrt() if self.kernel == "sigmoid" else 0.0
        u = dominant(k + lift * torch.eye(k.shape[1], dtype=k.dtype, device=k.device))
        value = (u * (k @ u.unsqueeze(2)).squeeze(2)).sum(1, keepdim=True).clamp_min(0)
        return oriented(u * value.sqrt(), x).unflatten(1, a.shape[2:])

    def _kernel(self, x: Float[Tensor, "b p c"]) -> Float[Tensor, "b p p"]:
        gamma = 1 / x.shape[2] if self.gamma is None else self.gamma
        products = x @ x.transpose(1, 2)
        if self.kernel == "linear":
            return products
        if self.kernel == "sigmoid":
            return torch.tanh(gamma * products + 1)
        if self.kernel == "poly":
            return (gamma * products + 1) ** 3
        squares = (x * x).sum(2, keepdim=True)
        return torch.exp(-gamma * (squares + squares.transpose(1, 2) - 2 * products).clamp_min(0))
