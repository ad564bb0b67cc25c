"""What a metric is: a number that says how good a heatmap is where the truth is known."""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Bool, Float
from torch import Tensor


class Metric(ABC):
    """A figure of merit for heatmaps against a known region; abstract.

    Attributes:
        name: the registry name.
        title: for people.
        paper: arXiv number or DOI, "-" where there is none.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str] = "-"

    @abstractmethod
    def __call__(self, heatmap: Float[Tensor, "b H W"], region: Bool[Tensor, "b H W"]) -> Float[Tensor, " b"]:
        """The figure for each heatmap; `region` is True where the explained thing is."""
