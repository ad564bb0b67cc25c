"""Recipro-CAM."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.probe import Probe
from camport.errors import MethodError


@dataclass(frozen=True)
class ReciproCAM(Explainer):
    r"""Recipro-CAM: the score that the model gives where one place of the layer is all it is shown.

    .. math:: L_{ij} = y^c\big|_{A \to A_{ij} \, g(\cdot - i, \cdot - j)}

    with g the 3x3 binomial kernel, 1/4 in its middle: the features of the place, and less of them
    around it. Byun and Lee 2022, arXiv 2209.14074, section 3.

    Deviation: both of the authors' programs take the softmax of the outputs; here y^c is the
    adapter's score, the logit where nothing else is said.
    `ClassificationAdapter(score_as="probability")` gives their map.

    Map: [b,h,w] of the layer, signed where the score is.
    Cost: `2` forward passes, and `h * w` behind the layer, one a place.

    Args:
        gaussian: spread the features over the neighbourhood; without it the place stands alone.
    """

    name: ClassVar[str] = "reciprocam"
    title: ClassVar[str] = "Recipro-CAM"
    paper: ClassVar[str] = "2209.14074"
    family: ClassVar[str] = "perturbation"
    needs_gradients: ClassVar[bool] = False

    gaussian: bool = True

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """y of each place's features alone."""
        (a,) = probe.activations
        h, w = a.shape[-2:]
        tail, features = probe.tail(), a.flatten(2)

        def alone(places: Tensor) -> Tensor:
            rows, columns = self._weights(places // w, h, a), self._weights(places % w, w, a)
            kernel = rows[:, :, None] * columns[:, None, :]
            chosen = features.index_select(2, places).movedim(2, 0)  # [m,b,c]
            return tail(chosen[..., None, None] * kernel[:, None, None])

        dead = (features == 0).all(1).all(0)
        return probe.each([torch.arange(h * w, device=a.device)], alone, same=dead).T.unflatten(
            1, (h, w)
        )

    def check(self, probe: Probe) -> None:
        """MethodError for several layers."""
        if len(probe.layers) != 1:
            raise MethodError(f"reciprocam explains one layer; {len(probe.layers)} were given")

    def _weights(self, places: Tensor, n: int, like: Tensor) -> Float[Tensor, "m n"]:
        """1/2 at the place and 1/4 beside it, or 1 at the place."""
        distance = (torch.arange(n, device=like.device) - places[:, None]).abs().to(like.dtype)
        return (0.5 - 0.25 * distance).relu() if self.gaussian else (1 - distance).relu()
