"""SmoothGrad."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.noise import normal
from camport.core.probe import Probe
from camport.errors import InputError

Form = Literal["mean", "squared", "variance"]
PRESETS: dict[str, tuple[int, Form]] = {"paper": (50, "mean"), "official": (25, "squared")}
"""Noisy images and what is taken of their gradients."""


@dataclass(frozen=True)
class SmoothGrad(Explainer):
    r"""SmoothGrad: the gradient, averaged over noisy copies of the image.

    .. math:: M_{ij} = \max_c \Big| \frac{1}{n} \sum_{k=1}^{n}
              \frac{\partial y^c(x + \epsilon_k)}{\partial x_{cij}} \Big|, \quad
              \epsilon_k \sim N(0, \sigma^2), \quad \sigma = \text{noise} \cdot (\max x - \min x)

    Smilkov et al. 2017, arXiv 1706.03825, section 2.2.

    `Explanation.figures["gradient"]` [b,c,H,W] is the signed mean;
    `camport.view.gradient_picture` draws it.

    Forms: "mean" as above; "squared", the mean of the squared gradient (SmoothGrad-Squared, Hooker
    et al. 2019, arXiv 1806.10758); "variance", the gradient's variance (VarGrad, Adebayo et al.
    2018, arXiv 1810.03307). Noise is relative to each image's own range, and the same for all
    images of a batch.

    Presets: "paper" takes 50 noisy images and the mean; "official", the authors' program,
        25 and the square.

    Map: [b,H,W] of the images, >= 0.
    Cost: `1 + n` forward passes, and a backward pass a noisy image.

    Args:
        samples: n; None is the preset's.
        noise: standard deviation as a share of the image's range; the paper finds 0.1 to 0.2 best.
        form: "mean", "squared" or "variance"; None is the preset's.
        seed: chooses the noise.
        preset: "paper", or "official".
    """

    name: ClassVar[str] = "smoothgrad"
    title: ClassVar[str] = "SmoothGrad"
    paper: ClassVar[str] = "1706.03825"
    family: ClassVar[str] = "input-gradient"
    needs_gradients: ClassVar[bool] = True
    needs_layer: ClassVar[bool] = False

    samples: int | None = None
    noise: float = 0.15
    form: Form | None = None
    seed: int = 0
    preset: Literal["paper", "official"] = "paper"

    def __post_init__(self) -> None:
        samples, form = self._chosen()
        least = 2 if form == "variance" else 1
        if samples < least or self.noise < 0:
            raise InputError(
                f"{samples} samples with noise {self.noise}; wanted {least} or more, and no"
                " negative noise"
            )

    def saliency(self, probe: Probe) -> Float[Tensor, "b H W"]:
        """max over channels of abs(mean of dy/dx), or of its mean square or variance."""
        images, (samples, form) = probe.images, self._chosen()

        def step(numbers: Tensor) -> Tensor:
            gradient = probe.input_gradient(noisy(images, numbers, self.noise, self.seed))
            moments = {
                "mean": [gradient],
                "squared": [gradient**2],
                "variance": [gradient, gradient**2],
            }[form]
            return torch.stack(moments, 1)

        means = probe.total([torch.arange(samples, device=images.device)], step) / samples
        if form == "variance":
            return (means[1] - means[0] ** 2).relu().amax(1)
        if form == "mean":
            probe.note("gradient", lambda: means[0])
        return means[0].abs().amax(1)

    def _chosen(self) -> tuple[int, Form]:
        samples, form = PRESETS[self.preset]
        return (samples if self.samples is None else self.samples), self.form or form


def noisy(
    images: Float[Tensor, "b c H W"], numbers: Tensor, share: float, seed: int
) -> Float[Tensor, "m b c H W"]:
    """Each image with the noise of each number,
    its standard deviation a share of the image's range."""
    one = images[0]
    span = images.amax((1, 2, 3), keepdim=True) - images.amin((1, 2, 3), keepdim=True)
    drawn = normal(seed, numbers, one.numel()).to(images.dtype).reshape(-1, 1, *one.shape)
    return images + share * span * drawn
