"""SS-CAM."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, fuse
from camport.core.maps.loop import traced
from camport.core.maps.noise import normal
from camport.core.probe import Probe
from camport.errors import InputError
from camport.plugins.scorecam import channel_masks


@dataclass(frozen=True)
class SSCAM(Explainer):
    r"""SS-CAM, smoothed Score-CAM: channels weighted by the mean score over noisy versions of their
    masks.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big), \quad
              w_k = \frac{1}{N} \sum_{i=1}^{N} p^c\big(x \odot (M_k + \delta_i)\big), \quad
              \delta_i \sim N(0, \sigma^2)

    with M_k as in Score-CAM. Wang et al. 2020, arXiv 2006.14255, section 3; smoothing of the input,
    the paper's second variant, is p(x M_k + delta).

    Preset "torchcam": w is the softmax over channels of the mean score y^c (a logit), masks are
    scaled before they are upsampled.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `1 + c * N` forward passes, N a channel.

    Args:
        samples: N.
        sigma: standard deviation of the noise; masks are in [0,1].
        smooth: "mask", or "input".
        seed: chooses the noise, which is the same for all images of a batch.
        preset: "paper", or "torchcam".
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "sscam"
    title: ClassVar[str] = "SS-CAM"
    paper: ClassVar[str] = "2006.14255"
    family: ClassVar[str] = "perturbation"
    needs_gradients: ClassVar[bool] = False

    samples: int = 35
    sigma: float = 2.0
    smooth: Literal["mask", "input"] = "mask"
    seed: int = 0
    preset: Literal["paper", "torchcam"] = "paper"
    fusion: Fusion = "max"

    def __post_init__(self) -> None:
        if self.samples < 1 or self.sigma < 0:
            raise InputError(
                f"{self.samples} samples with sigma {self.sigma}; wanted 1 or more, and no negative"
                " noise"
            )

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k w_k A_k)."""
        return fuse([self._layer_map(probe, a) for a in probe.activations], self.fusion)

    def _layer_map(self, probe: Probe, a: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
        images, channels = probe.images, a.movedim(1, 0)
        size, one, c = (images.shape[-2], images.shape[-1]), images[:1], channels.shape[0]
        paper = self.preset == "paper"

        def score(numbers: Tensor) -> Tensor:
            masks = channel_masks(channels.index_select(0, numbers % c), size, self.preset)[
                :, :, None
            ]
            like = one[:, :1] if self.smooth == "mask" else one
            noise = self.sigma * _drawn(self.seed, numbers // c, like.numel()).to(a.dtype).reshape(
                -1, *like.shape
            )
            seen = images * (masks + noise) if self.smooth == "mask" else images * masks + noise
            return probe.score(seen, probability=paper)

        # noise by noise, so that a chunk has few of them
        scores = probe.each([torch.arange(self.samples * c, device=a.device)], score)
        weights = scores.unflatten(0, (self.samples, c)).mean(0).T
        weights = weights if paper else weights.softmax(1)
        return (weights[:, :, None, None] * a).sum(1).relu()


def _drawn(seed: int, numbers: Int[Tensor, " m"], count: Any) -> Float[Tensor, "m n"]:
    """The noise of each number; eagerly each is made once a chunk,
    a graph has no fixed number of them."""
    if traced():
        return normal(seed, numbers, count)
    distinct, place = numbers.unique(return_inverse=True)
    return normal(seed, distinct, count)[place]
