"""D-RISE."""

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.adapter import Adapter
from camport.core.explainer import Explainer
from camport.core.probe import Probe
from camport.errors import InputError
from camport.plugins.rise import RISE


@dataclass(frozen=True)
class DRISE(Explainer):
    r"""D-RISE: the mean of random masks, each weighted by how well the detection is found again
    through it.

    .. math:: H = \frac{1}{N p} \sum_{i=1}^{N} s_i M_i, \quad s_i = \max_n\;
              \mathrm{IoU}(L, L_n)\;\frac{P \cdot P_n}{\lVert P \rVert \lVert P_n \rVert}\; O_n

    over the candidates n of the masked image; L, P the box and the class probabilities of the
    detection that is explained, :math:`O_n` the objectness. Petsiuk et al. 2021, CVPR, arXiv
    2006.03204, section 3. Masks are those of `rise`, here 5000 with 16 x 16 cells. The detector is
    seen from outside: no layer, no gradient. All detections of an image share the masked images. Of
    a classifier, which has no boxes, s is the class's probability.

    Deviations: the paper leaves the sum undivided, which a heatmap does not show. Detectors without
    objectness are scored with their largest class confidence in its place, since the cosine alone
    does not notice a lost object.

    Map: [b,H,W] of the images, >= 0.
    Cost: `1 + N` forward passes, one a mask.

    Args:
        samples: N.
        cells: of a mask's side.
        probability: p, of a cell to be seen.
        seed: chooses the masks.
    """

    name: ClassVar[str] = "drise"
    title: ClassVar[str] = "D-RISE"
    paper: ClassVar[str] = "2006.03204"
    family: ClassVar[str] = "perturbation"
    needs_gradients: ClassVar[bool] = False
    needs_layer: ClassVar[bool] = False

    samples: int = 5000
    cells: int = 16
    probability: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or self.cells < 1 or not 0 < self.probability <= 1:
            raise InputError(
                f"{self.samples} samples of {self.cells} cells seen with probability"
                f" {self.probability}; wanted 1 or more, 0 < p <= 1"
            )

    def scored(self, adapter: Adapter) -> Adapter:
        """The user's adapter, asked for D-RISE's similarity where it knows detections."""
        made: Any = adapter
        names = {field.name for field in fields(made)} if is_dataclass(made) else set()
        return replace(made, similarity="drise") if "similarity" in names else adapter

    def saliency(self, probe: Probe) -> Float[Tensor, "b H W"]:
        """sum_i s_i M_i / (N p)."""
        images = probe.images
        one = images[:1] if probe.shared else images
        masker = RISE(
            samples=self.samples, cells=self.cells, probability=self.probability, seed=self.seed
        )

        def step(numbers: Tensor) -> Tensor:
            masks = masker.masks(numbers, images)[:, None]
            scores = probe.score(one * masks[:, :, None], probability=True)
            return scores[:, :, None, None] * masks

        return probe.total([torch.arange(self.samples, device=images.device)], step) / (
            self.samples * self.probability
        )
