"""Any method, averaged over noisy copies of the image."""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.adapter import Adapter
from camport.core.explainer import Explainer
from camport.core.probe import Probe
from camport.errors import InputError
from camport.plugins.gradcam import GradCAM
from camport.plugins.smoothgrad import Form, noisy


@dataclass(frozen=True)
class Smoothed(Explainer):
    r"""Any method's map, averaged over noisy copies of the image.

    .. math:: M = \frac{1}{n} \sum_{k=1}^{n} m(x + \epsilon_k), \quad
              \epsilon_k \sim N(0, \sigma^2), \quad \sigma = \text{noise} \cdot (\max x - \min x)

    with m the method's own map, for the class of the clean image. Smilkov et al. 2017, arXiv
    1706.03825, section 2.2, say it of the gradient; captum has it of any method as NoiseTunnel.

    Forms: "mean" as above; "squared", the mean of m squared; "variance", the variance of m.

    It is no method of the registry, since it has no map of its own:
    `camport.bind(model, Smoothed(LayerCAM()))`.

    Map: as the method's own.
    Cost: `1 + n p` forward passes for a method of p, and its backward passes n times.

    Args:
        method: the method, with its options.
        samples: n.
        noise: standard deviation as a share of the image's range.
        form: "mean", "squared" or "variance".
        seed: chooses the noise.
    """

    name: ClassVar[str] = "smoothed"
    title: ClassVar[str] = "Smoothed"
    paper: ClassVar[str] = "1706.03825"
    family: ClassVar[str] = "perturbation"
    needs_gradients: ClassVar[bool] = True  # of each instance they are its method's

    method: Explainer = field(default_factory=GradCAM)
    samples: int = 25
    noise: float = 0.15
    form: Form = "mean"
    seed: int = 0

    def __post_init__(self) -> None:
        least = 2 if self.form == "variance" else 1
        if self.samples < least or self.noise < 0:
            raise InputError(
                f"{self.samples} samples with noise {self.noise}; wanted {least} or more, and no"
                " negative noise"
            )
        if not isinstance(self.method, Explainer):
            raise InputError(
                f"method is {self.method!r}; give an instance with its options, e.g. GradCAM()"
            )
        for trait in (
            "family",
            "needs_gradients",
            "needs_layer",
            "exportable",
            "not_exportable_because",
        ):
            object.__setattr__(self, trait, getattr(self.method, trait))

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """The mean of the method's maps, of their squares, or their variance."""

        def step(numbers: Tensor) -> Tensor:
            inner = probe.at(noisy(probe.images, numbers, self.noise, self.seed))
            maps = self.method.saliency(inner).detach().unflatten(0, (numbers.shape[0], -1))
            probe.relus_met = inner.relus_met
            return torch.stack(
                {"mean": [maps], "squared": [maps**2], "variance": [maps, maps**2]}[self.form], 1
            )

        means = (
            probe.total([torch.arange(self.samples, device=probe.images.device)], step)
            / self.samples
        )
        return (means[1] - means[0] ** 2).relu() if self.form == "variance" else means[0]

    def check(self, probe: Probe) -> None:
        """As the method's."""
        self.method.check(probe)

    def scored(self, adapter: Adapter) -> Adapter:
        """As the method's."""
        return self.method.scored(adapter)
