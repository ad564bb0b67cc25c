"""Group-CAM."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.baseline import KERNEL, SIGMA, blur
from camport.core.maps.fusion import Fusion, fuse
from camport.core.maps.heatmap import minmax, upsample
from camport.core.probe import Probe
from camport.errors import InputError


@dataclass(frozen=True)
class GroupCAM(Explainer):
    r"""Group-CAM: a few dozen masks, each a group of Grad-CAM's weighted channels,
    scored on a blurred background.

    .. math:: L = \mathrm{ReLU}\Big(\sum_g w_g M_g\Big), \quad w_g = p^c(x_g) - p^c(\tilde x), \quad
              x_g = x \odot \mathrm{up}(M_g) + \tilde x \odot (1 - \mathrm{up}(M_g)),

    .. math:: M_g = s\Big(\phi_\theta\Big(\mathrm{ReLU}\sum_{k \in g} \alpha_k A_k\Big)\Big)

    with Grad-CAM's weights alpha, the probability p, the blurred image x~, s the scaling to [0,1],
    and phi_theta setting to 0 what is not above the theta-th percentile of the map. Zhang et al.
    2021, arXiv 2103.13859, eq. 2 to 7.

    With one group and theta = 0 this is Grad-CAM scaled to [0,1], where the group speaks for the
    target at all.

    Deviations: groups are consecutive channels, and where their number does not divide the
    channels', sizes differ by one. A map that is flat is the mask 0 and weighs nothing; the
    authors' code divides 0 by 0 there. The kernel of the blur is cut down to images smaller than
    itself.

    Preset "official" is the newest of the authors' three programs: no de-noising; masks are scaled
    after upsampling; negative weights are dropped, and the sum is of upsampled masks that are not
    scaled; groups of equal size but the last, so that there may be fewer.

    Without gradient weights alpha is 1 and nothing runs backwards. With theta = 0 besides, it is
    what the paper's section 5 augments images by (`camport.training`).

    Map: [b,h,w] of the layer, >= 0.
    Cost: `2 + G` forward passes, one a group and one of the blurred image, and the backward pass
        behind the layer.

    Args:
        groups: G; fewer where there are fewer channels.
        theta: percentile of the de-noising; 0 turns it off.
        kernel: width of the blur's kernel in pixels, odd.
        sigma: the blur's standard deviation in pixels.
        preset: "paper", or "official".
        gradient_weights: weigh channels by Grad-CAM's alpha; otherwise each by 1.
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "groupcam"
    title: ClassVar[str] = "Group-CAM"
    paper: ClassVar[str] = "2103.13859"
    family: ClassVar[str] = "perturbation"
    needs_gradients: ClassVar[bool] = True  # of an instance without gradient weights: False

    groups: int = 32
    theta: float = 70.0
    kernel: int = KERNEL
    sigma: float = SIGMA
    preset: Literal["paper", "official"] = "paper"
    gradient_weights: bool = True
    fusion: Fusion = "max"

    def __post_init__(self) -> None:
        if self.groups < 1:
            raise InputError(f"groups is {self.groups}; give 1 or more")
        if not 0 <= self.theta < 100:
            raise InputError(f"theta is {self.theta}; it is a percentile, 0 up to 100")
        if self.kernel < 1 or self.kernel % 2 == 0 or self.sigma <= 0:
            raise InputError(
                f"kernel is {self.kernel} and sigma {self.sigma}; wanted an odd width and a"
                " positive number"
            )
        object.__setattr__(self, "needs_gradients", self.gradient_weights)

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_g w_g M_g), of "official" at the images' resolution."""
        blurred = blur(probe.images, self.kernel, self.sigma)
        baseline = probe.score(blurred[None], probability=True)
        weighted = probe.activations
        if self.gradient_weights:
            pairs = zip(weighted, probe.gradients, strict=True)
            weighted = [g.mean((2, 3), keepdim=True) * a for a, g in pairs]
        return fuse(
            [self._layer_map(probe, channels, blurred, baseline) for channels in weighted],
            self.fusion,
        )

    def _layer_map(
        self, probe: Probe, weighted: Tensor, blurred: Tensor, baseline: Tensor
    ) -> Tensor:
        size = (probe.images.shape[-2], probe.images.shape[-1])
        official = self.preset == "official"
        maps = torch.stack([part.sum(1).relu() for part in self._split(weighted)])  # [g,b,h,w]
        masks = maps if official else minmax(denoised(maps, self.theta))

        def score(chosen: Tensor) -> Tensor:
            seen = (minmax(upsample(chosen, size)) if official else upsample(chosen, size))[
                :, :, None
            ]
            return probe.score(probe.images * seen + blurred * (1 - seen), probability=True)

        flat = (masks.amax((2, 3)) == masks.amin((2, 3))).all(1)
        weights = (probe.each([masks], score, same=flat) - baseline)[:, :, None, None]
        if official:
            return (weights.relu() * upsample(masks, size)).sum(0)
        return (weights * masks).sum(0).relu()

    def _split(self, weighted: Float[Tensor, "b c h w"]) -> tuple[Tensor, ...]:
        if self.preset == "official":
            return weighted.chunk(self.groups, 1)
        return weighted.tensor_split(min(self.groups, weighted.shape[1]), 1)


def denoised(maps: Float[Tensor, "*n h w"], theta: float) -> Float[Tensor, "*n h w"]:
    """Maps with 0 where they are not above their theta-th percentile, linear between values;
    theta = 0 changes none."""
    if theta == 0:
        return maps
    values = maps.flatten(-2)
    rising = values.sort(-1).values
    # the number of places as a tensor: in a graph of any size it is a symbol,
    # and Python's int() would fix it
    places = torch.ones_like(
        values[..., :1, :] if values.dim() > 1 else values, dtype=torch.float64
    ).sum(-1)
    place = theta / 100 * (places.flatten()[:1] - 1)
    below = place.floor()
    share = (place - below).to(maps.dtype)
    low = rising.index_select(-1, below.long())
    high = rising.index_select(-1, torch.minimum(below + 1, places.flatten()[:1] - 1).long())
    threshold = low + (high - low) * share
    return torch.where(maps > threshold[..., None], maps, 0)
