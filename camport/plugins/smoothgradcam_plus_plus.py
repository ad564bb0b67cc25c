"""Smooth Grad-CAM++."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, fuse
from camport.core.maps.noise import normal
from camport.core.probe import Probe
from camport.errors import InputError
from camport.plugins.smoothgrad import noisy

PRESETS = {"paper": (25, 0.15), "torchcam": (4, 0.3)}
"""Noisy images and their noise."""


@dataclass(frozen=True)
class SmoothGradCAMPlusPlus(Explainer):
    r"""Smooth Grad-CAM++: Grad-CAM++ with derivatives averaged over noisy copies of the image.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k w_k A_k\Big), \quad
              w_k = \sum_{ij} \alpha_{kij}\, \mathrm{ReLU}(D^1_{kij}), \quad
              \alpha_{kij} = \frac{D^2_{kij}}{2 D^2_{kij} + \big(\sum_{ab} A_{kab}\big) D^3_{kij}},
              \quad D^p = \frac{1}{n} \sum_{m=1}^{n} G(x + \epsilon_m)^p

    with G = dy/dA and A of the clean image. Omeiza et al. 2019, arXiv 1908.01224, section 3.2.

    Deviations: D^2 stands in the numerator, as in Grad-CAM++, where the paper prints D^1; alpha is
    0 where the denominator is; gradients are divided by their largest value before they are raised
    to powers, so that small ones do not vanish.

    Preset "torchcam": n = 4, noise of standard deviation 0.3 whatever the image's range, the
    gradient of the last noisy image in place of D^1, sum_ab A D^3 in place of the product, 1e-8
    beside the denominator, and a sum over the activations of the last noisy image.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `1 + n` forward passes, and the backward pass behind the layer for each noisy image.

    Args:
        samples: n; None is the preset's, 25 or 4.
        noise: standard deviation as a share of the image's range, of "torchcam" in the images' own
            unit; None is the preset's, 0.15 or 0.3.
        seed: chooses the noise, which is the same for all images of a batch.
        preset: "paper", or "torchcam".
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "smoothgradcam++"
    title: ClassVar[str] = "Smooth Grad-CAM++"
    paper: ClassVar[str] = "1908.01224"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    samples: int | None = None
    noise: float | None = None
    seed: int = 0
    preset: Literal["paper", "torchcam"] = "paper"
    fusion: Fusion = "max"

    def __post_init__(self) -> None:
        samples, noise = self._numbers()
        if samples < 1 or noise < 0:
            raise InputError(
                f"{samples} samples with noise {noise}; wanted 1 or more, and no negative noise"
            )

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k w_k A_k)."""
        samples, _ = self._numbers()
        units = [self._unit(g) for g in probe.gradients]

        def step(numbers: Tensor) -> Tensor:
            last = (numbers == samples - 1).to(probe.images.dtype)[:, None, None, None, None]
            moments = []
            for g, unit in zip(
                probe.at(self._noisy(probe.images, numbers)).gradients, units, strict=True
            ):
                part = g.unflatten(0, (numbers.shape[0], -1)) / unit
                first = samples * last * part if self.preset == "torchcam" else part
                moments.append(torch.stack([first, part**2, part**3], 1).flatten(3))
            return torch.cat(moments, 3)

        means = probe.total([torch.arange(samples, device=probe.images.device)], step) / samples
        # not Size.numel(), which makes a number of sizes that are symbols
        sizes = [a.shape[1] * a.shape[2] * a.shape[3] for a in probe.activations]
        maps = []
        weighed = self._last(probe) if self.preset == "torchcam" else probe.activations
        parts = zip(probe.activations, weighed, units, means.split(sizes, 2), strict=True)
        for a, summed, unit, part in parts:
            weights = self._weights(a, unit, *part.unflatten(2, tuple(a.shape[1:])))
            maps.append((weights[:, :, None, None] * summed).sum(1).relu())
        return fuse(maps, self.fusion)

    def _weights(
        self, a: Tensor, unit: Tensor, d1: Tensor, d2: Tensor, d3: Tensor
    ) -> Float[Tensor, "b c"]:
        """w_k, from derivatives in units of `unit`;
        the first divided by the second is what remains of the unit."""
        if self.preset == "torchcam":
            alpha = d2 / (2 * d2 + (d3 * a).sum((2, 3), keepdim=True) + 1e-8)
        else:
            denominator = 2 * d2 + a.sum((2, 3), keepdim=True) * unit * d3
            defined = denominator != 0
            alpha = torch.where(defined, d2 / torch.where(defined, denominator, 1), 0)
        return (alpha * (d1 * unit).relu()).sum((2, 3))

    def _last(self, probe: Probe) -> list[Tensor]:
        number = torch.tensor([self._numbers()[0] - 1], device=probe.images.device)
        return probe.at(self._noisy(probe.images, number)).activations

    def _unit(self, g: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 1 1"]:
        largest = g.abs().amax((1, 2, 3), keepdim=True)
        return (
            torch.ones_like(largest)
            if self.preset == "torchcam"
            else torch.where(largest > 0, largest, 1)
        )

    def _noisy(
        self, images: Float[Tensor, "b c H W"], numbers: Tensor
    ) -> Float[Tensor, "m b c H W"]:
        _, noise = self._numbers()
        if self.preset == "paper":
            return noisy(images, numbers, noise, self.seed)
        one = images[0]
        return images + noise * normal(self.seed, numbers, one.numel()).to(images.dtype).reshape(
            -1, 1, *one.shape
        )

    def _numbers(self) -> tuple[int, float]:
        samples, noise = PRESETS[self.preset]
        return (
            samples if self.samples is None else self.samples,
            noise if self.noise is None else self.noise,
        )
