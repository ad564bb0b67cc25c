"""XRAI."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.maps.baseline import Baseline, baseline, check_baseline, check_fits
from camport.core.probe import Probe
from camport.errors import InputError, MissingDependencyError
from camport.plugins.integrated_gradients import integrated

SCALES, SIGMA, SMALLEST = (50, 100, 150, 250, 500, 1200), 0.8, 150
"""Felzenszwalb's parameters, of images scaled to [-1,1] and 224x224 pixels."""

SIDE, DILATION = 224, 5
FEWEST = 50
"""Pixels that a segment must add to those chosen before it."""


@dataclass(frozen=True)
class XRAI(Explainer):
    r"""XRAI: segments of the image, the ones with the densest attribution first.

    Integrated gradients from a black and from a white image are averaged, and the largest over
    channels is taken. Of Felzenszwalb's segments at six scales, each widened by a disk of five
    pixels, the one is chosen again and again whose pixels not yet chosen have the highest mean
    attribution; that mean is their value in the map. Kapishnikov et al. 2019, arXiv 1906.02825,
    section 3 and algorithm 1.

    Deviation: black and white are each image's lowest and highest value.

    Segmentation is scikit-image's: pip install "camport[xrai]".

    Map: [b,H,W] of the images, signed.
    Cost: `1 + 2 * steps` forward passes, and a backward pass a step, half of them with one
    baseline; segmentation beside.

    Args:
        steps: points on each way from black and white, both ends among them.
        baseline: where the gradients' way begins: None is the mean of two ways, from black and from
            white; else one way from a value of all pixels, a value a channel, a tensor [c,H,W], or
            each image's blur ("blurred") or mean colour ("mean").
        algorithm: "full"; or "fast", which ranks segments once, by their mean over all of their
            pixels.
    """

    name: ClassVar[str] = "xrai"
    title: ClassVar[str] = "XRAI"
    paper: ClassVar[str] = "1906.02825"
    family: ClassVar[str] = "input-gradient"
    needs_gradients: ClassVar[bool] = True
    needs_layer: ClassVar[bool] = False
    exportable: ClassVar[bool] = False
    not_exportable_because: ClassVar[str] = (
        "segmentation and the choice of segments are no tensor operations"
    )

    steps: int = 100
    algorithm: Literal["full", "fast"] = "full"
    baseline: Baseline | None = None

    def __post_init__(self) -> None:
        if self.steps < 2:
            raise InputError(f"steps is {self.steps}; give 2 or more")
        if self.baseline is not None:
            check_baseline(self.baseline, "baseline")

    def saliency(self, probe: Probe) -> Float[Tensor, "b H W"]:
        """The mean attribution of the segment that each pixel was chosen with."""
        attribution = self.attribution(probe)
        rank = ranked if self.algorithm == "full" else ranked_once
        maps = [
            rank(a.cpu().double(), segments(x))
            for a, x in zip(attribution, probe.images, strict=True)
        ]
        return torch.stack(maps).to(attribution)

    def check(self, probe: Probe) -> None:
        """MissingDependencyError without scikit-image,
        InputError for a baseline that does not fit the images."""
        _skimage()
        if self.baseline is not None:
            check_fits(self.baseline, probe.images, "baseline")

    def attribution(self, probe: Probe) -> Float[Tensor, "b H W"]:
        """Integrated gradients, the mean over baselines, the largest over channels."""
        x, n = probe.images, self.steps
        places = [i / (n - 1) for i in range(n)]
        if self.baseline is None:
            starts = [
                x.amin((1, 2, 3), keepdim=True).expand_as(x),
                x.amax((1, 2, 3), keepdim=True).expand_as(x),
            ]
        else:
            starts = [baseline(self.baseline, x)]
        parts = [integrated(probe, start, places, [1 / n] * n) for start in starts]
        return (torch.stack(parts).sum(0) / len(parts)).amax(1)


def segments(image: Float[Tensor, "c H W"]) -> Bool[Tensor, "n H W"]:
    """Felzenszwalb's segments at all scales, widened."""
    skimage = _skimage()
    height, width = image.shape[1:]
    image = image.detach().cpu().double()
    low, high = image.amin(), image.amax()
    unit = (image - low) / torch.where(high > low, high - low, 1) * 2 - 1
    pixels = skimage.transform.resize(
        unit.permute(1, 2, 0).numpy(), (SIDE, SIDE), order=3, mode="constant", anti_aliasing=True
    )
    found = []
    for scale in SCALES:
        labels = skimage.segmentation.felzenszwalb(
            pixels, scale=scale, sigma=SIGMA, min_size=SMALLEST, channel_axis=-1
        )
        labels = skimage.transform.resize(
            labels,
            (height, width),
            order=0,
            preserve_range=True,
            mode="constant",
            anti_aliasing=False,
        )
        labels = torch.from_numpy(labels.astype("int64"))
        found.append(labels == torch.arange(int(labels.max()) + 1)[:, None, None])
    return _widened(torch.cat(found))


def ranked(attribution: Float[Tensor, "H W"], masks: Bool[Tensor, "n H W"]) -> Float[Tensor, "H W"]:
    """Segments chosen one after the other, by the mean of the pixels that each would add."""
    flat, values = masks.flatten(1), attribution.flatten()
    result, free = torch.zeros_like(values), torch.ones_like(values, dtype=torch.bool)
    counts, sums = flat.sum(1), flat.to(values) @ values
    while True:
        open_ = counts >= FEWEST
        if not bool(open_.any()):
            break
        gains = torch.where(open_, sums / counts.clamp_min(1), -torch.inf)
        best = int(gains.argmax())
        added = (flat[best] & free).nonzero()[:, 0]
        result[added] = gains[best]
        free[added] = False
        chosen = flat[:, added]
        counts, sums = counts - chosen.sum(1), sums - chosen.to(values) @ values[added]
    return _completed(result, free, values).reshape(attribution.shape)


def ranked_once(
    attribution: Float[Tensor, "H W"], masks: Bool[Tensor, "n H W"]
) -> Float[Tensor, "H W"]:
    """Segments in the order of their means, each with the pixels that no earlier one has."""
    flat, values = masks.flatten(1), attribution.flatten()
    result, free = torch.zeros_like(values), torch.ones_like(values, dtype=torch.bool)
    counts = flat.sum(1)
    means = torch.where(counts > 0, (flat.to(values) @ values) / counts.clamp_min(1), -torch.inf)
    for best in means.argsort(descending=True, stable=True).tolist():
        added = (flat[best] & free).nonzero()[:, 0]
        if len(added) >= FEWEST:
            result[added], free[added] = values[added].mean(), False
    return _completed(result, free, values).reshape(attribution.shape)


def _completed(result: Tensor, free: Tensor, values: Tensor) -> Tensor:
    """Pixels that no segment has get their own mean."""
    if bool(free.any()):
        result[free] = values[free].mean()
    return result


def _widened(masks: Bool[Tensor, "n H W"]) -> Bool[Tensor, "n H W"]:
    """Every pixel within the disk's radius of a segment."""
    skimage = _skimage()
    disk = skimage.morphology.disk(DILATION)
    return torch.stack(
        [
            torch.from_numpy(skimage.morphology.dilation(mask.numpy(), footprint=disk)).bool()
            for mask in masks
        ]
    )


def _skimage() -> Any:
    try:
        import skimage
        import skimage.morphology
        import skimage.segmentation
        import skimage.transform
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            'xrai needs scikit-image: pip install "camport[xrai]"'
        ) from error
    return skimage
