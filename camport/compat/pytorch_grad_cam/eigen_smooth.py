"""`eigen_smooth`: the first principal component of weighted activations in place of their sum."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport import plugins
from camport.core import Explainer, Probe
from camport.core.maps.principal_component import first_component
from camport.errors import MethodError

Weighted = Callable[[Probe], Float[Tensor, "b c h w"]]


@dataclass(frozen=True)
class EigenSmoothed(Explainer):
    r"""A method's weighted activations, projected on their first principal component instead of
    added up.

    .. math:: L = X v_1, \quad X_{pk} = (w_k \odot A_k)_p

    with v_1 the first right singular vector of X, less the mean over places; signed as
    Eigen-Grad-CAM's.

    Args:
        method: one that weighs the channels of a layer.

    Raises:
        MethodError: another.
    """

    name: ClassVar[str] = "eigen_smoothed"
    title: ClassVar[str] = "Eigen-smoothed"
    paper: ClassVar[str] = "-"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True  # of each instance they are its method's

    method: Explainer

    def __post_init__(self) -> None:
        if type(self.method) not in WEIGHTED:
            names = ", ".join(kind.name for kind in WEIGHTED)
            raise MethodError(
                f"eigen_smooth is there for {names}; {self.method.name} has no weights by channel"
            )
        object.__setattr__(self, "needs_gradients", self.method.needs_gradients)

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """X v_1."""
        return first_component(WEIGHTED[type(self.method)](probe), centre=True)

    def check(self, probe: Probe) -> None:
        """As the method's."""
        self.method.check(probe)


def _pooled(probe: Probe) -> Float[Tensor, "b c h w"]:
    return probe.gradients[0].mean((2, 3), keepdim=True) * probe.activations[0]


def _products(probe: Probe) -> Float[Tensor, "b c h w"]:
    return probe.gradients[0] * probe.activations[0]


def _positive(probe: Probe) -> Float[Tensor, "b c h w"]:
    return probe.gradients[0].relu() * probe.activations[0]


def _shares(probe: Probe) -> Float[Tensor, "b c h w"]:
    """XGrad-CAM's; channels whose sum is 0 weigh nothing."""
    (a,), total = probe.activations, probe.activations[0].sum((2, 3), keepdim=True)
    products = _products(probe).sum((2, 3), keepdim=True)
    return torch.where(total != 0, products / torch.where(total != 0, total, 1), 0) * a


def _alphas(probe: Probe) -> Float[Tensor, "b c h w"]:
    """Grad-CAM++'s: alpha relu(G), with G^2 taken out of the quotient."""
    (a,), (g,) = probe.activations, probe.gradients
    below = 2 + a.sum((2, 3), keepdim=True) * g
    return (
        torch.where(below != 0, g.relu() / torch.where(below != 0, below, 1), 0).sum(
            (2, 3), keepdim=True
        )
        * a
    )


def _falls(probe: Probe) -> Float[Tensor, "b c h w"]:
    """Ablation-CAM's: the share of the score that is lost without the channel."""
    (a,) = probe.activations
    tail, channel = probe.tail(), torch.arange(a.shape[1], device=a.device)

    def without(left_out: Tensor) -> Tensor:
        return tail(a * (channel != left_out[:, None]).to(a.dtype)[:, None, :, None, None])

    fall = probe.y - probe.each([channel], without)
    return (fall / torch.where(probe.y == 0, 1, probe.y)).T[:, :, None, None] * a


WEIGHTED: dict[type[Explainer], Weighted] = {
    plugins.GradCAM: _pooled,
    plugins.HiResCAM: _products,
    plugins.GradCAMElementWise: lambda probe: _products(probe).relu(),
    plugins.LayerCAM: _positive,
    plugins.XGradCAM: _shares,
    plugins.GradCAMPlusPlus: _alphas,
    plugins.AblationCAM: _falls,
}
"""Their weighted activations at one layer; the positive part of the sum over channels is the
method's own map."""
