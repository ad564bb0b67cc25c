"""A bound method as a pure function of tensors, for export."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from camport.core.isolation.module_classes import graph
from camport.core.isolation.private_copy import double_of, tensors, with_state
from camport.core.maps.loop import traced
from camport.core.maps.ruled_out import rules_out
from camport.core.recipe import explained
from camport.errors import ExportError

if TYPE_CHECKING:
    from camport.core.bound import Bound


class BoundProgram:
    """A `Bound` as a pure function of the model's tensors and the graph's inputs
    (`camport.core.program.Program`)."""

    def __init__(
        self, bound: Bound, example: Mapping[str, Tensor], mixes: bool, ruled_out: bool
    ) -> None:
        self.bound, self.example, self.mixes, self.ruled_out = bound, example, mixes, ruled_out
        self.inputs = ("images", *bound.adapter.inputs)
        self.sized = bound.adapter.sized
        self.state = tensors(bound.model)

    def __call__(
        self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """Outputs by graph name: outputs, ..., score, heatmap, feature_maps, ..., gradients, ..."""
        bound, images = self.bound, inputs["images"]
        given = {name: value for name, value in inputs.items() if name != "images"}
        with rules_out(self.ruled_out):
            probe = bound._probe(with_state(bound.model, state, graph), images, given)
            found = explained(bound.explainer, probe)
        # a tensor that stands in two places of the outputs is one of the graph's
        leaves = {id(v): v for v in tree_leaves(found.outputs) if isinstance(v, Tensor)}.values()
        named = dict(numbered("outputs", leaves))
        named.update(score=found.score, heatmap=found.heatmap)
        named.update(numbered("feature_maps", found.activations or ()))
        named.update(numbered("gradients", found.gradients or ()))
        # after a run, which a model that looks at values does not reach: they are its fault, and
        # told of first
        if self.mixes and not traced() and images.shape[0] > 1:
            raise ExportError(
                f"{type(bound.model).__name__} mixes the images of a batch, and a graph takes"
                " several: its map of one would depend on the others. Explain it in PyTorch, where"
                " each image is run alone"
            )
        return named

    def sample(self, images: Tensor, batch: int, seed: int) -> dict[str, Tensor]:
        """Inputs of `batch` images, mixed from the given ones and noise of their statistics, with
        other targets."""
        generator = torch.Generator().manual_seed(seed)
        like = images.detach().float().cpu()
        noise = torch.randn(batch, *like.shape[1:], generator=generator)
        mean, std = (
            like.mean((0, 2, 3), keepdim=True),
            like.std((0, 2, 3), keepdim=True, correction=0),
        )
        rows = torch.randint(like.shape[0], (batch,), generator=generator)
        drawn = (
            (0.7 * like[rows] + 0.3 * mean + 0.5 * std * noise).to(images.dtype).to(images.device)
        )
        with torch.no_grad():
            double = double_of(self.bound.model)
            outputs = self.bound.adapter.ask(double, images[:1], self.example)
        target = self.bound.adapter.sample_for(images, outputs, batch, generator)
        return {"images": drawn, **{k: v.to(images.device) for k, v in target.items()}}


def numbered(name: str, values: Iterable[Tensor]) -> Iterator[tuple[str, Tensor]]:
    """The tensors with their graph names: name, name_1, name_2, ..."""
    for i, value in enumerate(values):
        yield (name if i == 0 else f"{name}_{i}"), value
