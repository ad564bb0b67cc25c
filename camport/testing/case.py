"""One explainer on one network, and ways to run it."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camport.core.adapter import Adapter
from camport.core.bind import bind
from camport.core.bound import Bound
from camport.core.explainer import Explainer
from camport.core.explanation import Explanation
from camport.core.isolation.private_copy import double_of
from camport.core.probe import Probe
from camport.core.running.evaluation import Evaluation
from camport.core.running.layers import parse_layers
from camport.errors import silenced
from camport.testing.conformance import Judge
from camport.testing.networks import Network


@dataclass(frozen=True)
class Case:
    """What the rules are checked on.

    Attributes:
        judge: to whom a rule tells what it found.
        explainer: the instance under test.
        adapter: scores the network.
        network: the network.
        target: for its images, as `Adapter.prepare` takes it.
    """

    judge: Judge
    explainer: Explainer
    adapter: Adapter
    network: Network
    target: Any

    @property
    def images(self) -> Tensor:
        """The network's images [b,c,H,W]."""
        return self.network.images

    @property
    def tolerance(self) -> float:
        """Up to this share of the largest value maps count as equal;
        convolutions differ with the batch size."""
        return 1e-5 if self.images.dtype == torch.float64 else 2e-3

    def bound(self, model: nn.Module | None = None, layer: str | list[str] | None = None) -> Bound:
        """The explainer bound to the network, or to a variant of it."""
        layer = self.network.layer if layer is None else layer
        return bind(model or self.network.model, self.explainer, layer, self.adapter)

    def explain(
        self, images: Tensor | None = None, target: Any = None, **variant: Any
    ) -> Explanation:
        """Explains the network's images and target, or others."""
        if images is None:
            images, target = self.images, self.target
        with quiet():
            return self.bound(**variant)(images, target)

    def probe(self) -> Probe:
        """A fresh probe of the network, as `bind` makes it."""
        needs_layer = self.explainer.needs_layer
        double = double_of(self.network.model)
        layer = self.network.layer
        clean = Evaluation(
            double,
            self.explainer.scored(self.adapter),
            parse_layers(double, layer) if needs_layer and layer else [],
            self.images.clone(),
            self.adapter.prepare(self.target, self.images),
            records=self.explainer.needs_gradients and needs_layer,
            validate=True,
        )
        return Probe(clean)

    def same(self, a: Tensor, b: Tensor) -> bool:
        """Equal but for rounding, against the largest value."""
        if a.shape != b.shape:
            return False
        scale = float(torch.maximum(a.abs().amax(), b.abs().amax()))
        return bool((a - b).abs().amax() <= self.tolerance * scale)


def row(target: Any, i: int) -> Any:
    """The target of image `i` alone."""
    if isinstance(target, Tensor) and target.dim():
        return target[i : i + 1]
    return target[i : i + 1] if isinstance(target, list) else target


def with_inplace_relus(model: nn.Module) -> nn.Module:
    """A copy whose ReLUs overwrite their input."""
    model = copy.deepcopy(model)
    for module in model.modules():
        if isinstance(module, nn.ReLU | nn.ReLU6 | nn.LeakyReLU | nn.ELU | nn.SiLU | nn.Hardswish):
            module.inplace = True
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Flat maps and guarded divisions are common on random networks and break no rule."""
    with silenced():
        yield
