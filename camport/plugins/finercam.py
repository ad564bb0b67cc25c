"""Finer-CAM."""

import dataclasses
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.adapter import Adapter
from camport.core.explainer import Explainer
from camport.core.maps.fusion import Fusion, over_layers
from camport.core.probe import Probe
from camport.errors import InputError, MethodError


@dataclass(frozen=True)
class FinerCAM(Explainer):
    r"""Finer-CAM: what tells a class from those that the model finds most similar.

    .. math:: L = \mathrm{ReLU}\Big(\sum_k \alpha_k A_k\Big), \quad
              \alpha_k = \frac{1}{hw} \sum_{ij} \frac{\partial}{\partial A_{kij}}
              \Big(y^c - \frac{\gamma}{n} \sum_{d} y^d\Big)

    with d the n classes whose logits are nearest to that of c. Zhang et al. 2025, arXiv 2501.11309,
    eq. 5 and 8: the mean of the maps against one class each is the map against the mean.

    It is a score more than a method: any other explains the same contrast with
    `ClassificationAdapter(score_as="contrast", nearest=3, strength=0.6)`, and `Explanation.score`
    is the contrast. An adapter that contrasts already is used as it is.

    Map: [b,h,w] of the layer, >= 0.
    Cost: `1` forward pass, and the backward pass behind the layer.

    Args:
        classes: how many similar classes, n; at most all others.
        strength: of the contrast, gamma; 0 is Grad-CAM.
        fusion: how maps of several layers are combined.
    """

    name: ClassVar[str] = "finercam"
    title: ClassVar[str] = "Finer-CAM"
    paper: ClassVar[str] = "2501.11309"
    family: ClassVar[str] = "activation"
    needs_gradients: ClassVar[bool] = True

    classes: int = 3
    strength: float = 0.6
    fusion: Fusion = "max"

    def __post_init__(self) -> None:
        if self.classes < 1 or self.strength < 0:
            raise InputError(
                f"{self.classes} classes, strength {self.strength}; wanted 1 or more, and no"
                " negative one"
            )

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """relu(sum_k mean_ij(G_k) A_k), with G the gradient of the contrast."""
        return over_layers(
            probe, lambda a, g: (g.mean((2, 3), keepdim=True) * a).sum(1).relu(), self.fusion
        )

    def scored(self, adapter: Adapter) -> Adapter:
        """The adapter with a contrast in place of the logit; MethodError where it has none."""
        score = getattr(adapter, "score_as", None)
        if score == "contrast":
            return adapter
        if score != "logit":
            raise MethodError(
                f"finercam contrasts logits of classes, adapter {adapter.name!r} scores by"
                f" {score or 'something else'}; give the classification adapter, or explain that"
                " score by gradcam"
            )
        options = {"score_as": "contrast", "nearest": self.classes, "strength": self.strength}
        return dataclasses.replace(adapter, **options)  # type: ignore[type-var]  # adapters with options are dataclasses
