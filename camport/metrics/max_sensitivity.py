"""Max-sensitivity."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.maps.noise import uniform
from camport.core.metric import Metric
from camport.errors import InputError


@dataclass(frozen=True)
class MaxSensitivity(Metric):
    r"""Max-sensitivity: how much the map changes, at most, as the image changes a little.

    .. math:: \max_{\|y - x\|_\infty \le r} \frac{\|\Phi(y) - \Phi(x)\|_2}{\|\Phi(x)\|_2}

    the maximum over random y. Yeh et al. 2019, arXiv 1901.09392, definition 2 with the norm of
    section 5. What is explained in y is the target that is explained in x.

    Range: [0, inf), lower is better; a map that does not look at the image has 0, so read it beside
    a metric of truth.
    Cost: `samples` explanations.

    Args:
        samples: how many y.
        radius: r, in the units of the images that the model takes.
        of: "heatmap", or the method's "raw" map.
        seed: chooses y.
    """

    name: ClassVar[str] = "max_sensitivity"
    title: ClassVar[str] = "Max-sensitivity"
    paper: ClassVar[str] = "1901.09392"
    needs: ClassVar[frozenset[str]] = frozenset({"explain"})
    better: ClassVar[Literal["higher", "lower"]] = "lower"
    range: ClassVar[tuple[float, float]] = (0.0, math.inf)

    samples: int = 10
    radius: float = 0.02
    of: Literal["heatmap", "raw"] = "heatmap"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.samples < 1 or not self.radius > 0:
            raise InputError(
                f"{self.samples} samples within a radius of {self.radius}; wanted 1 or more,"
                " above 0"
            )

    def measure(self, case: Case) -> Float[Tensor, " b"]:
        """The largest change of the map over its norm; 0 for a flat map that stays flat."""
        case.check(self)
        assert case.explanation is not None
        clean = getattr(case.explanation, self.of).flatten(1).double()
        changes = [
            (
                getattr(case.explain(self.near(case.images, i)), self.of).flatten(1).double()
                - clean
            ).norm(dim=1)
            for i in range(self.samples)
        ]
        norm = clean.norm(dim=1)
        return torch.stack(changes).amax(0) / torch.where(norm > 0, norm, 1)

    def near(self, images: Float[Tensor, "b c H W"], number: int) -> Float[Tensor, "b c H W"]:
        """y of this number: the same change for each image,
        so that none depends on the others of its batch."""
        drawn = uniform(self.seed, torch.tensor([number], device=images.device), images[0].numel())
        return images + self.radius * (2 * drawn - 1).reshape(images.shape[1:]).to(images.dtype)
