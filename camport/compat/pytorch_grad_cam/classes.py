"""The classes whose whole content is a method of camport's."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport import plugins
from camport.compat.pytorch_grad_cam.base_cam import BaseCAM
from camport.core import Explainer, Probe, uniform


class GradCAM(BaseCAM):
    """Channels weighted by their mean gradient: `gradcam`."""

    explainer = plugins.GradCAM


class HiResCAM(BaseCAM):
    """Gradients times activations, place by place: `hirescam`."""

    explainer = plugins.HiResCAM


class GradCAMElementWise(BaseCAM):
    """The positive part of each product: `gradcam_elementwise`."""

    explainer = plugins.GradCAMElementWise


class GradCAMPlusPlus(BaseCAM):
    """Equation 19 of the paper: `gradcam++`. grad-cam adds 1e-6,
    which outweighs small gradients."""

    explainer = plugins.GradCAMPlusPlus


class XGradCAM(BaseCAM):
    """`xgradcam`; channels whose activations cancel weigh nothing,
    where grad-cam divides by nearly 0."""

    explainer = plugins.XGradCAM


class LayerCAM(BaseCAM):
    """`layercam`."""

    explainer = plugins.LayerCAM


class ShapleyCAM(BaseCAM):
    """`shapleycam`."""

    explainer = plugins.ShapleyCAM


class AblationCAM(BaseCAM):
    """`ablationcam`, of all channels; no layer of the model is replaced meanwhile."""

    explainer = plugins.AblationCAM


class ScoreCAM(BaseCAM):
    """`scorecam` by the paper; grad-cam's own masks and weights are `preset="grad-cam"`."""

    explainer = plugins.ScoreCAM


class EigenCAM(BaseCAM):
    """`eigencam`; grad-cam takes the channels' means off, which is `centre=True`,
    and leaves the sign open."""

    explainer = plugins.EigenCAM


class EigenGradCAM(BaseCAM):
    """`eigengradcam`; the sign, which grad-cam leaves open, is that of the mean over channels."""

    explainer = plugins.EigenGradCAM


class KPCA_CAM(BaseCAM):
    """`kpcacam`; the sign, which grad-cam leaves open, is that of the mean over channels."""

    explainer = plugins.KPCACAM


class FEM(BaseCAM):
    """`fem` by the paper, channels weighted by their means;
    grad-cam's formula is `preset="grad-cam"`."""

    explainer = plugins.FEM


class FullGrad(BaseCAM):
    """`fullgrad` by the paper, of all biases; `target_layers` is not looked at, as in grad-cam."""

    explainer = plugins.FullGrad


@dataclass(frozen=True)
class RandomWeights(Explainer):
    r"""Channels with random weights, against which a method is held: no evidence of any class.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k u_k A_k\Big), \quad u_k \sim U(-1, 1)

    Args:
        seed: chooses the weights, which are the image's by its place in the batch; the process's
            random state stays.
    """

    name: ClassVar[str] = "random_weights"
    title: ClassVar[str] = "Random weights"
    paper: ClassVar[str] = "-"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = False

    seed: int = 0

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k u_k A_k)."""
        (a,) = probe.activations
        rows = torch.arange(a.shape[0], device=a.device)
        weights = 2 * uniform(self.seed, rows, a.shape[1]).to(a.dtype) - 1
        return (weights[:, :, None, None] * a).sum(1).relu()


class RandomCAM(BaseCAM):
    """Random weights by channel, the same at each call; `seed=1` gives others."""

    explainer = RandomWeights
