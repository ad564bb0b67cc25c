"""Score-CAM."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, fuse
from camport.core.maps.heatmap import Size, minmax, upsample
from camport.core.probe import Probe

Preset = Literal["paper", "official", "grad-cam", "torchcam"]


@dataclass(frozen=True)
class ScoreCAM(Explainer):
    r"""Score-CAM: channels weighted by what the model says of the image seen through each.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big), \quad w_k = p^c(x \odot M_k), \quad
              M_k = s(\mathrm{up}(A_k)), \quad s(M) = \frac{M - \min M}{\max M - \min M}

    with p the probability. Wang et al. 2020, arXiv 1910.01279, eq. 5 to 8 and section 3.3. A
    channel that is constant has the mask 0.

    The paper's equations leave open what its text and the implementations decide differently:

    - "paper": as above.
    - "official", the authors' code: constant channels are skipped, the sum is of upsampled
      channels.
    - "grad-cam": w is the softmax over channels of the score y^c (a logit), masks are upsampled
      with aligned corners.
    - "torchcam": w is the softmax over channels of y^c, masks are scaled before they are upsampled.

    Deviation: the baseline f(X_b) of eq. 6 is left out, as in the authors' code.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `1 + c` forward passes, one a channel.

    Args:
        preset: which of these.
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "scorecam"
    title: ClassVar[str] = "Score-CAM"
    paper: ClassVar[str] = "1910.01279"
    family: ClassVar[str] = "perturbation"
    needs_gradients: ClassVar[bool] = False

    preset: Preset = "paper"
    fusion: Fusion = "max"

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k w_k A_k), of "official" at the images' resolution."""
        return fuse([self._layer_map(probe, a) for a in probe.activations], self.fusion)

    def _layer_map(self, probe: Probe, a: Float[Tensor, "b c h w"]) -> Float[Tensor, "b y x"]:
        size = (probe.images.shape[-2], probe.images.shape[-1])
        flat = a.amax((2, 3)) == a.amin((2, 3))
        by_probability = self.preset in ("paper", "official")

        def score(channels: Tensor) -> Tensor:
            masks = channel_masks(channels, size, self.preset)
            return probe.score(probe.images * masks[:, :, None], probability=by_probability)

        weights = probe.each([a.movedim(1, 0)], score, same=flat.all(0)).T
        if self.preset == "official":
            weights = torch.where(flat, 0, weights)
        elif not by_probability:
            weights = weights.softmax(1)
        total = (weights[:, :, None, None] * a).sum(1)
        return (upsample(total, size) if self.preset == "official" else total).relu()


def channel_masks(
    channels: Float[Tensor, "m b h w"], size: Size, preset: Preset = "paper"
) -> Float[Tensor, "m b H W"]:
    """Channels as masks in [0,1] of the images' size, 0 where a channel is constant."""
    if preset == "torchcam":
        return upsample(minmax(channels), size)
    if preset == "grad-cam":
        return minmax(F.interpolate(channels, size=size, mode="bilinear", align_corners=True))
    return minmax(upsample(channels, size))
