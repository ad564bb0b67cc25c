"""Insertion minus deletion."""

from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.metric import Curves, Metric
from camport.metrics.causal import Preset
from camport.metrics.deletion import Deletion
from camport.metrics.insertion import Insertion
from camport.metrics.ranking import area


@dataclass(frozen=True)
class InsertionDeletion(Metric):
    """Insertion minus deletion: the "over-all" score of Group-CAM, arXiv 2103.13859, section 4.3.

    Of the map of an image that is explained wholly by one side of it, insertion alone is fooled by
    a bright baseline and deletion alone by a dark one; the difference is the area between the two
    curves.

    Range: [-1,1], higher is better; a map that knows nothing has near 0 where the model is linear.
    Curves: "insertion" and "deletion".
    Cost: `2 (steps + 1)` forward passes, none where insertion and deletion with these options were
    measured before.

    Args:
        steps: as `Insertion`, as is `preset`.
        preset: "percent", "rise" or "group-cam".
    """

    name: ClassVar[str] = "insertion_deletion"
    title: ClassVar[str] = "Insertion minus deletion"
    paper: ClassVar[str] = "2103.13859"
    needs: ClassVar[frozenset[str]] = frozenset({"model"})
    range: ClassVar[tuple[float, float]] = (-1.0, 1.0)

    steps: int | None = None
    preset: Preset = "percent"

    def __post_init__(self) -> None:
        Insertion(self.steps, preset=self.preset)  # which refuses what is wrong

    def curves(self, case: Case) -> Curves:
        """Both curves."""
        parts = (
            Insertion(self.steps, preset=self.preset),
            Deletion(self.steps, preset=self.preset),
        )
        return {name: curve for part in parts for name, curve in part.curves(case).items()}

    def summary(self, curves: Curves) -> Float[Tensor, " b"]:
        """The area between the curves."""
        return area(curves["insertion"]) - area(curves["deletion"])
