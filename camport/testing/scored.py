"""An adapter, made and tried on a network that it fits: what the kit's rules look at."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camport.core.adapter import Adapter
from camport.core.running.call_model import called, prepared
from camport.errors import CamportError, InputError
from camport.testing.conformance import ConformanceError, Judge
from camport.testing.networks import Network, asked_networks, networks

Target = dict[str, Tensor]
OUTPUTS = ("images", "outputs", "score", "heatmap", "feature_maps", "gradients")
"""Names an input cannot have, since an exported graph uses them."""


@dataclass(frozen=True)
class Scored:
    """An adapter with a network, the network's outputs, and a target for each image."""

    judge: Judge
    adapter: Adapter
    network: Network
    outputs: Any
    given: Target
    nonsense: Sequence[Any]

    @property
    def batch(self) -> int:
        """How many images."""
        return self.network.images.shape[0]


def check_inputs(judge: Judge, adapter: Adapter) -> None:
    """Fails where its inputs are no names, or names that a graph has for others."""
    names = adapter.inputs
    judge.demand(
        isinstance(names, tuple) and all(isinstance(n, str) and n.isidentifier() for n in names),
        f"inputs is {names!r}; it is a tuple of names",
    )
    taken = [n for n in names if n in OUTPUTS]
    judge.demand(
        not taken and len(set(names)) == len(names),
        f"inputs {names!r} has a name twice, or one of {OUTPUTS}",
    )


def scored_on_a_network(
    judge: Judge,
    adapter: Adapter,
    model: nn.Module | None,
    images: Tensor | None,
    target: Any,
    nonsense: Sequence[Any],
) -> Scored:
    """The adapter with the first network that it fits, or yours; fails where it fits none."""
    if model is not None and images is None:
        images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    own = [] if model is None else [Network(copy.deepcopy(model).eval(), None, images)]  # type: ignore[arg-type]
    refusals: dict[str, None] = {}
    for network in own or [*networks(), *asked_networks()]:
        try:
            with torch.no_grad():
                given = first_target(adapter, network, target)
                outputs = called(adapter, network.model, network.images, given)
                if target is None:
                    generator = torch.Generator().manual_seed(3)
                    given = adapter.sample_for(
                        network.images, outputs, network.images.shape[0], generator
                    )
            check_rows(
                judge,
                adapter,
                given,
                network.images.shape[0],
                "sample" if target is None else "prepare",
            )
            with torch.no_grad():
                outputs = adapter.ask(network.model, network.images, given)
            adapter.check(outputs, given)
        except CamportError as error:
            if isinstance(error, AssertionError):
                raise
            refusals[f"{type(error).__name__}: {error}"] = None
            continue
        return Scored(judge, adapter, network, outputs, given, nonsense)
    raise ConformanceError(
        judge.who, judge.rule, f"{'; '.join(refusals)}; a suitable network can be given as model="
    )


def check_rows(judge: Judge, adapter: Adapter, given: Any, batch: int, source: str) -> None:
    """Fails where the target is no tensors with a row for each image, by the adapter's names."""
    keys = tuple(given) if isinstance(given, dict) else given
    judge.demand(
        isinstance(given, dict) and set(keys) == set(adapter.inputs),
        f"{source} gives {keys!r}; wanted tensors named {', '.join(adapter.inputs)}",
    )
    for name, value in given.items():
        judge.demand(
            isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == batch,
            f"{source} gives {name} of shape {tuple(getattr(value, 'shape', ()))}; wanted a row an"
            f" image, b = {batch}",
        )


def first_target(adapter: Adapter, network: Network, target: Any) -> Target:
    """The user's target, or the adapter's own; nothing where there is neither."""
    try:
        return prepared(adapter, network.model, target, network.images)
    except InputError:
        if target is not None:
            raise
        return {}
