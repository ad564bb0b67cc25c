"""What a metric is: one number a map that says how good it is, of the truth, of the model,
or of the map alone."""

from __future__ import annotations

import dataclasses
from abc import ABC
from typing import Any, ClassVar, Literal

from jaxtyping import Float
from torch import Tensor

from camport.core.case import Case
from camport.core.option_kinds import Checked
from camport.errors import InputError

NEEDS = frozenset({"region", "model", "explain"})
"""What a metric may ask of a case: the region that is true, the score of changed images,
maps of changed images."""

Curves = dict[str, Tensor]
"""Curves [b,steps] by name."""


class Metric(Checked, ABC):
    """A figure of merit for heatmaps; abstract.

    A metric of the map and the region alone implements `__call__`; one that asks the model or the
    method anew implements `measure`; one whose figure is of a curve implements `curves` and
    `summary`.

    Attributes:
        name: the registry name.
        title: for people.
        paper: arXiv number or DOI, "-" where there is none.
        needs: what it asks of a case, of `NEEDS`.
        better: whether a good map has a "higher" or a "lower" figure.
        range: the least and the largest figure.
        unit: of the figure, "" for a pure number.
        scale_free: the figure is the same for a map that is multiplied by a positive number.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str] = "-"
    needs: ClassVar[frozenset[str]] = frozenset({"region"})
    better: ClassVar[Literal["higher", "lower"]] = "higher"
    range: ClassVar[tuple[float, float]] = (0.0, 1.0)
    unit: ClassVar[str] = ""
    scale_free: ClassVar[bool] = True

    def __call__(self, *maps: Any, **named: Any) -> Float[Tensor, " b"]:
        """The figure of each heatmap: `metric(heatmap, region)` with heatmaps [b,H,W] and regions
        bool [b,H,W], True where the explained thing is, or `metric(heatmap)` where no region is
        needed.

        Raises:
            InputError: the metric asks more than maps and regions.
        """
        raise InputError(
            f"{self.name} needs {asked(self)}; measure it by {self.name}.measure(Case.of(bound,"
            " images))"
        )

    def measure(self, case: Case) -> Float[Tensor, " b"]:
        """The figure of each map of a case.

        Raises:
            InputError: the case lacks what the metric needs.
        """
        case.check(self)
        if type(self).curves is not Metric.curves:
            return self.summary(self.curves(case))
        return self(case.heatmap, case.region)

    def curves(self, case: Case) -> Curves:
        """The curves that the figure is made of; {} where it is made of none."""
        return {}

    def summary(self, curves: Curves) -> Float[Tensor, " b"]:
        """The figure of the curves."""
        raise NotImplementedError(f"{type(self).__name__} has curves and no summary of them")

    def measured(self, case: Case) -> tuple[Float[Tensor, " b"], Curves]:
        """The figure and the curves it is made of, the model run once for both."""
        case.check(self)
        curves = self.curves(case)
        return (self.summary(curves) if curves else self.measure(case)), curves

    def options(self) -> dict[str, Any]:
        """The options of this instance by name."""
        return dataclasses.asdict(self) if dataclasses.is_dataclass(self) else {}


def asked(metric: Metric | type[Metric]) -> str:
    """What a metric needs, in words."""
    words = {
        "region": "the true region",
        "model": "the model",
        "explain": "the method, to explain changed images",
    }
    return (
        " and ".join(words[need] for need in sorted(metric.needs, reverse=True)) or "the map alone"
    )
