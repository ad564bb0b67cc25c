"""How good a method's maps are, over any set of images."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from camport.core.bound import Bound
from camport.core.case import Case, check_region
from camport.core.metric import Metric
from camport.core.registry import registered
from camport.errors import FlatMapWarning, InputError, silenced

Batch = tuple[Tensor, Any, Tensor | None]
"""images [b,3,H,W] as the model wants them, the target of each, int64 [b] or whatever else the
adapter takes, and its region bool [b,H,W], None where no metric needs it."""


@dataclass(frozen=True)
class Evaluation:
    """What a method reached over a set of images.

    Attributes:
        scores: the mean of each metric over all images, by the metric's name.
        chance: what a map that knows nothing is expected to reach in the pointing game and in
            energy in region: the regions' mean share of the area; NaN where there are no regions.
        images: how many there were.
        flat: how many of them had a flat map, which points nowhere and scores 0.
        values: float64 [images] of each metric, in the order of the images.
        curves: of metrics that have them, float64 [images,steps] by the curve's name.
    """

    scores: Mapping[str, float]
    chance: float
    images: int
    flat: int
    values: Mapping[str, Tensor] = field(default_factory=dict)
    curves: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)


def evaluate(
    bound: Bound,
    batches: Iterable[Batch],
    metrics: Mapping[str, Metric] | None = None,
    *,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Explains every image and measures its map.

    Only one batch is held at a time. `FlatMapWarning` is silenced; flat maps are counted.

    Args:
        bound: a method bound to a model, by `camport.bind`.
        batches: images, targets and regions.
        metrics: what to measure, by name; None is every registered metric that needs a map and a
            region alone.
        progress: called after each batch with the number of images done.

    Raises:
        InputError: there is no image, targets and regions do not match the images, or a metric
            needs a region and there is none.
        CamportError: whatever the bound method raises.
    """
    metrics = every_metric({"region"}) if metrics is None else metrics
    values: dict[str, list[Tensor]] = {name: [] for name in metrics}
    curves: dict[str, dict[str, list[Tensor]]] = {}
    area, done, flat = list[Tensor](), 0, 0
    for images, target, region in batches:
        _check(images, target, region)
        with silenced(FlatMapWarning):
            case = _case(bound, images, target, region, metrics)
        for name, metric in metrics.items():
            found, drawn = metric.measured(case)
            values[name].append(found.double().cpu())
            for curve, points in drawn.items():
                curves.setdefault(name, {}).setdefault(curve, []).append(points.double().cpu())
        if case.region is not None:
            area.append(case.region.flatten(1).double().mean(1).cpu())
        flat += int((case.heatmap.amax((1, 2)) == case.heatmap.amin((1, 2))).sum())
        done += case.heatmap.shape[0]
        if progress is not None:
            progress(done)
    if done == 0:
        raise InputError("nothing to evaluate: the batches hold no image")
    each = {name: torch.cat(parts) for name, parts in values.items()}
    return Evaluation(
        scores={name: float(found.mean()) for name, found in each.items()},
        chance=float(torch.cat(area).mean()) if area else float("nan"),
        images=done,
        flat=flat,
        values=each,
        curves={
            name: {c: torch.cat(parts) for c, parts in drawn.items()}
            for name, drawn in curves.items()
        },
    )


def every_metric(given: Collection[str] | None = None) -> dict[str, Metric]:
    """An instance of each registered metric, by name.

    Args:
        given: what there is to measure with, of `camport.core.metric.NEEDS`; metrics that need more
            are left out.
    """
    classes = registered().classes["metric"]
    return {
        name: o.cls() for name, o in classes.items() if given is None or o.cls.needs <= set(given)
    }


def _case(
    bound: Bound, images: Tensor, target: Any, region: Tensor | None, metrics: Mapping[str, Metric]
) -> Case:
    """The case of a batch; without the model where no metric asks for it."""
    if any(metric.needs & {"model", "explain"} for metric in metrics.values()):
        return Case.of(bound, images, target, region)
    explanation = bound(images, target)
    heatmap = explanation.heatmap
    shown = images if images.shape[0] == heatmap.shape[0] else explanation.images
    assert shown is not None
    return Case(shown, heatmap, None if region is None else region.to(heatmap.device), explanation)


def _check(images: Tensor, target: Any, region: Tensor | None) -> None:
    if region is not None and isinstance(target, Tensor):
        check_region(region, images)
    if isinstance(target, Tensor) and tuple(target.shape) != (images.shape[0],):
        raise InputError(
            f"target has shape {tuple(target.shape)}; wanted one class an image,"
            f" ({images.shape[0]},)"
        )
