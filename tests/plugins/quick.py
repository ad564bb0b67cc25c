"""Every registered method, with few variants, on a network so small that all of them together take
a moment."""

import copy
import warnings
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

import camport
from camport.core import registry
from camport.errors import CamportError, CamportWarning
from camport.plugins import (
    ISCAM,
    RISE,
    SSCAM,
    XRAI,
    GroupCAM,
    IntegratedGradients,
    Occlusion,
    SmoothGrad,
    SmoothGradCAMPlusPlus,
)
from camport.testing.networks import networks
from tests.nets import GapNet, images, seeded
from tests.plugins.test_references import Behind

FEW = {
    "groupcam": GroupCAM(groups=4, kernel=5, sigma=3.0),
    "integrated_gradients": IntegratedGradients(steps=6),
    "iscam": ISCAM(samples=3),
    "occlusion": Occlusion((3, 4), (2, 2)),
    "rise": RISE(samples=30, cells=4),
    "smoothgrad": SmoothGrad(samples=4),
    "smoothgradcam++": SmoothGradCAMPlusPlus(samples=3),
    "sscam": SSCAM(samples=2, sigma=0.5),
    "xrai": XRAI(steps=3),
}
if "drise" in camport.methods():
    FEW["drise"] = registry.explainer("drise")(samples=30, cells=4)
TARGET = torch.tensor([1, 3, 0])


@dataclass(frozen=True)
class Setting:
    """A method with a network that it fits.

    Attributes:
        method: its name, or an instance with few variants.
        model: float64, in evaluation mode; a copy for each who asks.
        layer: the target layer.
        x: three images.
    """

    method: object
    model: nn.Module
    layer: str | None
    x: Tensor

    def explain(
        self, model: nn.Module | None = None, x: Tensor | None = None, target: object = TARGET
    ):
        """An explanation, without the warnings that random networks bring along."""
        with quiet():
            return camport.explain(
                model or self.model, self.x if x is None else x, self.method, target, self.layer
            )


def names() -> list[str]:
    """The live registry."""
    return list(camport.methods())


def setting(name: str) -> Setting:
    """The method on the first network that it does not refuse."""
    found = _setting(name)
    return Setting(found.method, copy.deepcopy(found.model), found.layer, found.x.clone())


@cache
def plain(name: str):
    """The explanation of the three images; leave it as it is."""
    return setting(name).explain()


@cache
def _setting(name: str) -> Setting:
    method, x = FEW.get(name, name), images(3, (8, 10))
    own = [Setting(method, seeded(make()), "features", x) for make in (Behind, GapNet)]
    refusals = []
    for candidate in [*own, *(Setting(method, n.model, n.layer, n.images) for n in networks())]:
        try:
            candidate.explain()
        except CamportError as error:
            refusals.append(str(error))
        else:
            return candidate
    raise AssertionError(f"no network fits {name}: {refusals}")


class quiet(warnings.catch_warnings):
    """Flat maps and guarded divisions are common on random networks."""

    def __enter__(self):
        super().__enter__()
        warnings.simplefilter("ignore", CamportWarning)


def away(a: Tensor, b: Tensor) -> float:
    """The largest difference of two maps, as a share of the largest value."""
    return float((a - b).abs().max() / torch.maximum(a.abs().max(), b.abs().max()).clamp_min(1e-30))
