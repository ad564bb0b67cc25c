"""LeGrad."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.probe import Probe
from camport.core.running.attention import sensitivity
from camport.errors import InputError


@dataclass(frozen=True)
class LeGrad(Explainer):
    r"""LeGrad: which patches each layer would have to attend to more,
    for its tokens to speak more for the target.

    .. math:: L = \frac{1}{|l|} \sum_l \frac{1}{h n} \sum_{h, i}
              \mathrm{ReLU}\Big(\frac{\partial s^l}{\partial A^l_{h i \cdot}}\Big), \quad
              s^l = y^c\Big(\frac{1}{n} \sum_i Z^l_i\Big)

    with the attention A^l of h heads and n tokens, and s^l the score that the model's head gives
    the mean of the tokens Z^l behind block l; A itself is no factor. Bousselham et al. 2024,
    arXiv 2404.03214, section 3.

    For transformers whose attentions are all among the same tokens of the whole image (ViT, DeiT),
    fused or not, each in a block of its own; others are refused.

    Map: [b,h,w] of the patches, >= 0.
    Cost: `1` forward pass, and a backward pass through each block.

    Args:
        last: only so many of the last blocks; None is all.
    """

    name: ClassVar[str] = "legrad"
    title: ClassVar[str] = "LeGrad"
    paper: ClassVar[str] = "2404.03214"
    family: ClassVar[str] = "attention"
    needs_gradients: ClassVar[bool] = True
    needs_layer: ClassVar[bool] = False

    last: int | None = None

    def __post_init__(self) -> None:
        if self.last is not None and self.last < 1:
            raise InputError(f"last is {self.last}; give 1 block or more, or None for all")

    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """mean over layers of the mean over heads and queries of relu(ds/dA)."""
        found = sensitivity(probe, self.last)
        return found.on_image(torch.stack([g.relu().mean((1, 2)) for g in found.maps]).mean(0))
