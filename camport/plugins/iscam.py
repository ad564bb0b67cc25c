"""IS-CAM."""

from dataclasses import dataclass
from itertools import accumulate
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, fuse
from camport.core.probe import Probe
from camport.errors import InputError
from camport.plugins.scorecam import channel_masks


@dataclass(frozen=True)
class ISCAM(Explainer):
    r"""IS-CAM, integrated Score-CAM: channels weighted by the mean score over their mask at several
    scales.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big), \quad
              w_k = \frac{1}{N} \sum_{i=1}^{N} p^c(x \odot s_i M_k),
              \quad s_i = \sum_{j=0}^{i-1} \frac{j}{N}

    with M_k as in Score-CAM. Naidu et al. 2020, arXiv 2010.03023, section 3.

    The paper's scales are running sums, which go beyond 1. Preset "linear" integrates from the
    black image to Score-CAM's masked one instead, s_i = i / N. Preset "torchcam": s_i is the sum of
    j/N for j = 1 to i, w the softmax over channels of the mean score y^c (a logit), and masks are
    scaled before they are upsampled.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `2 + c * (N - 1)` forward passes, N a channel, but those of black images are made once.

    Args:
        samples: N.
        preset: "paper", "linear" or "torchcam".
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "iscam"
    title: ClassVar[str] = "IS-CAM"
    paper: ClassVar[str] = "2010.03023"
    family: ClassVar[str] = "perturbation"
    needs_gradients: ClassVar[bool] = False

    samples: int = 10
    preset: Literal["paper", "linear", "torchcam"] = "paper"
    fusion: Fusion = "max"

    def __post_init__(self) -> None:
        if self.samples < 1:
            raise InputError(f"samples is {self.samples}; give 1 or more")

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k w_k A_k)."""
        return fuse([self._layer_map(probe, a) for a in probe.activations], self.fusion)

    def _layer_map(self, probe: Probe, a: Float[Tensor, "b c h w"]) -> Float[Tensor, "b h w"]:
        images, channels, n = probe.images, a.movedim(1, 0), self.samples
        size = (images.shape[-2], images.shape[-1])
        by_logit = self.preset == "torchcam"
        scales = torch.tensor(self.scales(), dtype=torch.float64).to(a.device, a.dtype)

        def score(channel: Tensor, scale: Tensor) -> Tensor:
            masks = channel_masks(
                channels.index_select(0, channel), size, "torchcam" if by_logit else "paper"
            )
            return probe.score(
                images * (scale[:, None, None, None] * masks)[:, :, None], probability=not by_logit
            )

        index = torch.arange(channels.shape[0], device=a.device)
        flat = (channels.amax((2, 3)) == channels.amin((2, 3))).all(1)
        codes = [index.repeat_interleave(n), scales.repeat(channels.shape[0])]
        scores = probe.each(codes, score, same=flat.repeat_interleave(n) | (codes[1] == 0))
        weights = scores.unflatten(0, (-1, n)).mean(1).T
        weights = weights.softmax(1) if by_logit else weights
        return (weights[:, :, None, None] * a).sum(1).relu()

    def scales(self) -> list[float]:
        """What the mask is multiplied with, s_1 to s_N."""
        n = self.samples
        if self.preset == "linear":
            return [i / n for i in range(1, n + 1)]
        first = 1 if self.preset == "torchcam" else 0
        return list(accumulate(j / n for j in range(first, first + n)))
