"""The probability of an image that is seen through its heatmap."""

from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case


def masked(case: Case) -> tuple[Float[Tensor, " b"], Float[Tensor, " b"]]:
    """Y of the images x and O of heatmap * x, the probabilities; one forward pass a case."""
    seen = case.once("masked", lambda: case.scores(case.images * case.heatmap[:, None]))
    return case.scores.probability, seen
