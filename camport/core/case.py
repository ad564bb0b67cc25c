"""What a metric measures: maps with their images, and beside them the truth, the model,
the method."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from camport.core.bound import Bound
from camport.core.explanation import Explanation
from camport.core.scorer import Scorer
from camport.errors import InputError, silenced

if TYPE_CHECKING:
    from camport.core.metric import Metric

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Case:
    """A batch of maps to measure; `Case.of` makes it from a bound method.

    Attributes:
        images: [b,c,H,W], one for each map.
        heatmap: [b,H,W].
        region: bool [b,H,W], True where the explained thing is; None where that is not known.
        explanation: the method's own, None for maps from elsewhere.
        scorer: the score of what was explained in any images; None where there is no model.
        bound: the method, None for maps from elsewhere.
    """

    images: Float[Tensor, "b c H W"]
    heatmap: Float[Tensor, "b H W"]
    region: Bool[Tensor, "b H W"] | None = None
    explanation: Explanation | None = None
    scorer: Scorer | None = None
    bound: Bound | None = None
    _known: dict[Hashable, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        images, maps = tuple(self.images.shape), tuple(self.heatmap.shape)
        wanted = (images[0], *images[2:])
        if maps != wanted:
            raise InputError(
                f"heatmap has shape {maps}; wanted {wanted}, as the images are {images}"
            )
        if self.region is not None:
            check_region(self.region, self.images)

    @classmethod
    def of(
        cls,
        bound: Bound,
        images: Tensor,
        target: Any = None,
        region: Tensor | None = None,
        *,
        heatmap: Tensor | None = None,
        scorer: Scorer | None = None,
    ) -> Case:
        """Explains images, unless their maps are given, and keeps all that a metric may ask.

        Args:
            bound: a method bound to a model.
            images: [b,c,H,W], as for a call of `bound`, as is `target`.
            region: bool [b,H,W], where the explained thing is.
            heatmap: [b,H,W], maps from elsewhere instead of the method's: random ones,
                another library's.
            scorer: of the same model, images and target, so that it is made once for many methods.

        Raises:
            InputError: maps or regions that do not fit the images.
            CamportError: as a call of `bound`.
        """
        explanation = bound(images, target) if heatmap is None else None
        scorer = scorer or Scorer.of(bound, images, target)
        maps = explanation.heatmap if explanation is not None else heatmap
        assert maps is not None
        device = scorer.images.device
        region = None if region is None else region.to(device)
        own = bound if heatmap is None else None
        return cls(scorer.images, maps.to(device), region, explanation, scorer, own)

    def check(self, metric: Metric | type[Metric]) -> None:
        """Raises InputError where the case lacks what a metric needs."""
        lacking = {
            "region": self.region is None,
            "model": self.scorer is None,
            "explain": self.scorer is None or self.bound is None,
        }
        remedies = {
            "region": "give region=, bool [b,H,W]",
            "model": "make the case by Case.of(bound, images, target)",
            "explain": "make the case by Case.of(bound, images, target), without heatmap=",
        }
        for need in sorted(metric.needs):
            if lacking[need]:
                what = {"region": "the true region", "model": "the model", "explain": "the method"}[
                    need
                ]
                raise InputError(
                    f"{metric.name} needs {what}, which this case does not have; {remedies[need]}"
                )

    @property
    def scores(self) -> Scorer:
        """The scorer, for metrics that need the model."""
        if self.scorer is None:
            raise InputError(
                "this case has no model; declare needs = frozenset({'model'}) on the metric's class"
            )
        return self.scorer

    def explain(self, images: Float[Tensor, "b c H W"]) -> Explanation:
        """Explains changed images with respect to the target of the clean ones, silently."""
        if self.bound is None:
            raise InputError(
                "this case has no method; declare needs = frozenset({'explain'}) on the metric's"
                " class"
            )
        with silenced():
            return self.bound.again(images, self.scores.target)

    def laid(self) -> Float[Tensor, "b H W"]:
        """The method's raw map where it lies on the images, signed and not scaled;
        of maps from elsewhere these."""
        if self.explanation is None:
            return self.heatmap
        raw = self.explanation.raw
        return self.once("laid", lambda: self.scores.lay(raw))

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """What `make` gives, kept for the next metric that asks for `key`:
        a curve that two metrics share."""
        if key not in self._known:
            self._known[key] = make()
        found: T = self._known[key]
        return found

    def with_heatmap(self, heatmap: Float[Tensor, "b H W"]) -> Case:
        """The same images and truth with maps from elsewhere."""
        return replace(self, heatmap=heatmap, explanation=None, bound=None, _known={})


def check_region(region: Tensor, images: Tensor) -> None:
    """InputError where a region is no bool [b,H,W] of the images."""
    wanted = (images.shape[0], *images.shape[2:])
    if region.dtype != torch.bool or tuple(region.shape) != wanted:
        raise InputError(
            f"region is {str(region.dtype).removeprefix('torch.')} {tuple(region.shape)}; wanted"
            f" bool {wanted}, as the images are {tuple(images.shape)}"
        )
