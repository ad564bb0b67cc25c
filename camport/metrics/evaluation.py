"""How well a method points, over any set of images whose truth is known."""

import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from camport.core.bound import Bound
from camport.core.metric import Metric
from camport.core.registry import registered
from camport.errors import FlatMapWarning, InputError

Batch = tuple[Tensor, Tensor, Tensor]
"""images [b,3,H,W] as the model wants them, the target class of each int64 [b], and its region bool [b,H,W]."""


@dataclass(frozen=True)
class Evaluation:
    """What a method reached over a set of images.

    Attributes:
        scores: the mean of each metric over all images, by the metric's name.
        chance: what a map that knows nothing is expected to reach in the pointing game and in energy in region: the
            regions' mean share of the area.
        images: how many there were.
        flat: how many of them had a flat map, which points nowhere and scores 0.
    """

    scores: Mapping[str, float]
    chance: float
    images: int
    flat: int


def evaluate(
    bound: Bound,
    batches: Iterable[Batch],
    metrics: Mapping[str, Metric] | None = None,
    *,
    progress: Callable[[int], object] | None = None,
) -> Evaluation:
    """Explains every image and compares its heatmap with the region that is true.

    Only one batch is held at a time. `FlatMapWarning` is silenced; flat maps are counted.

    Args:
        bound: a method bound to a model, by `camport.bind`.
        batches: images, targets and regions.
        metrics: what to measure, by name; None is every registered metric.
        progress: called after each batch with the number of images done.

    Raises:
        InputError: there is no image, or targets and regions do not match the images.
        CamportError: whatever the bound method raises.
    """
    metrics = every_metric() if metrics is None else metrics
    sums = dict.fromkeys(metrics, 0.0)
    area, done, flat = 0.0, 0, 0
    for images, target, region in batches:
        _check(images, target, region)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FlatMapWarning)
            heatmap = bound(images, target).heatmap
        region = region.to(heatmap.device)
        for name, metric in metrics.items():
            sums[name] += float(metric(heatmap, region).double().sum())
        area += float(region.flatten(1).double().mean(1).sum())
        flat += int((heatmap.amax((1, 2)) == heatmap.amin((1, 2))).sum())
        done += images.shape[0]
        if progress is not None:
            progress(done)
    if done == 0:
        raise InputError("nothing to evaluate: the batches hold no image")
    return Evaluation({name: total / done for name, total in sums.items()}, area / done, done, flat)


def every_metric() -> dict[str, Metric]:
    """An instance of each registered metric, by name."""
    return {name: owned.cls() for name, owned in registered().classes["metric"].items()}


def _check(images: Tensor, target: Tensor, region: Tensor) -> None:
    wanted = (images.shape[0], *images.shape[2:])
    if region.dtype != torch.bool or tuple(region.shape) != wanted:
        raise InputError(
            f"region is {str(region.dtype).removeprefix('torch.')} {tuple(region.shape)}; wanted bool {wanted}, "
            f"as the images are {tuple(images.shape)}"
        )
    if tuple(target.shape) != (images.shape[0],):
        raise InputError(f"target has shape {tuple(target.shape)}; wanted one class an image, ({images.shape[0]},)")
