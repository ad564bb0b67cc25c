"""One forward pass of a model on images: its outputs, the score, and what the target layers put
out."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from camport.core.maps.loop import repeat
from camport.core.maps.token_grid import Grid
from camport.core.running.call_model import scored, without_graph
from camport.core.running.channels_last import Layout
from camport.core.running.derivative import differentiate, differentiate_rows
from camport.core.running.layers import LayerName
from camport.core.running.leaves import leaves_at
from camport.core.running.mixing import Mixed
from camport.core.running.reading import Readings
from camport.core.running.turned import ElsewhereError

if TYPE_CHECKING:
    from camport.core.adapter import Adapter


class Evaluation:
    """Runs the model once, when `run` is first called, and keeps what came out.

    Args:
        double: a private double of the model whose tensors do not require gradients.
        adapter: calls the model and scores what it says.
        layers: the target layers, empty for methods that need none.
        images: [b,c,H,W], or one image for all rows of the target.
        given: the adapter's target tensors, not yet resolved.
        records: record the graph from the layers to the score.
        validate: check outputs against the target; off while tracing.
        lists: the target is whatever the adapter finds in the outputs, several rows for one image.
        readings: how layers lie on the image, as far as it is settled.

    Attributes:
        outputs: what the model said, detached.
        target: resolved.
        y: the score [b], with its graph.
        native: what each target layer put out, in its own layout and with its graph.
        grids: how these lie on the image.
        runs_seen: how often each layer's module ran.
        passed: whether it has run.
        has_graph: whether the graph from the layers to the score is recorded, and not used up.
        derived: the gradients at the layers, once they are known.
        zeros: of a layer that the score does not depend on the gradient is 0, and no LayerError.
    """

    def __init__(
        self,
        double: nn.Module,
        adapter: Adapter,
        layers: list[LayerName],
        images: Tensor,
        given: Mapping[str, Tensor],
        *,
        records: bool,
        validate: bool = False,
        lists: bool = False,
        readings: Readings | None = None,
    ) -> None:
        self.double, self.adapter, self.layers = double, adapter, layers
        self.readings = readings or Readings()
        self.images, self.given = images, dict(given)
        self.records, self.validate, self.lists = records, validate, lists
        self.zeros = False
        self.passed, self.has_graph, self.runs_seen = False, records, dict[str, int]()
        self.outputs: Any = None
        self.target: dict[str, Tensor] = {}
        self.native: list[Tensor] = []
        self.grids: list[Grid] = []
        self.derived: list[Tensor] | None = None
        self._y: Tensor | None = None
        self._ask = Layout(adapter, double)

    @property
    def y(self) -> Tensor:
        """The score [b], with its graph."""
        self.run()
        assert self._y is not None
        return self._y

    @property
    def each_row(self) -> Tensor:
        """The images, one for each row of the target: one image that is asked about several times
        is repeated.

        How many rows there are where the adapter lists them is told by `run`, which comes before.
        """
        if not self.adapter.lists or self.images.shape[0] != 1:
            return self.images
        target = self.target if self.passed else self.given
        return self.images.expand(next(iter(target.values())).shape[0], -1, -1, -1)

    @property
    def shared(self) -> bool:
        """Whether one image serves several rows of the target."""
        # sizes are symbols while a graph is traced
        return bool(self.images.shape[0] < self.each_row.shape[0])

    def run(self) -> None:
        """The forward pass, if it has not been made."""
        if self.passed:
            return
        images = self.images.clone()  # the model may write into them
        placing = self.readings.placing(self.layers, images)
        with (
            leaves_at(self.layers, self.double, self.records) as leaves,
            torch.set_grad_enabled(self.records),
        ):
            with placing or nullcontext():
                outputs = self.call(images)
            again = placing is None or placing.decides
            self.runs_seen.update({leaf.layer.module: len(leaf.tensors) for leaf in leaves})
            self.native = [leaf.output() for leaf in leaves]
            self.hear(outputs)
        seen = (self.layers, self.native, self.images, self.given)
        origins = None if placing is None else [placing.of(a) for a in self.native]
        try:
            self.grids = self.readings.of(
                *seen, self.adapter, self.double, origins=origins, followed=not again
            )
        except ElsewhereError as error:
            if placing is not None and again and self.images.shape[0] > 1:
                raise Mixed("moves the places of some images and not of others") from error
            raise

    def call(self, images: Tensor, m: int | None = None) -> Any:
        """What the model says about the target, of the clean images or of m variants of each."""
        first = self.target if self.passed else self.given
        return self._ask(images, first if m is None else self.repeated(m), m is not None)

    def hear(self, outputs: Any) -> None:
        """Takes outputs for those of the clean images."""
        if self.validate and self.adapter.settles_of(self.images.shape[0]):
            self.adapter = self._ask.adapter = self.adapter.settled(self.double, outputs)
        self.target, self._y = scored(
            self.adapter, outputs, self.given, self.lists, validate=self.validate
        )
        self.outputs, self.passed = without_graph(outputs), True

    def repeated(self, m: int) -> dict[str, Tensor]:
        """The target of m variants of each image, variant by variant."""
        self.run()
        return {k: repeat(v, m) for k, v in self.target.items()}

    def rows_of(self, activation: Tensor) -> Tensor:
        """Activations, detached, with a row for each row of the target."""
        shared = activation.shape[0] == 1 and self.shared
        activation = activation.detach()
        return (
            activation.expand(self.each_row.shape[0], *activation.shape[1:])
            if shared
            else activation
        )

    def gradients(self) -> list[Tensor]:
        """d y^c / d what each layer put out; the graph is used up."""
        self.run()
        if self.derived is None:
            derive = differentiate_rows if self.shared else differentiate
            self.derived = derive(self.y, self.native, self.layer_names(), self.zeros)
            self.has_graph = False
        return self.derived

    def layer_names(self) -> list[str]:
        """The layers as messages call them."""
        return [f"layer {str(name)!r}" for name in self.layers]

    def run_index(self, layer: LayerName) -> int:
        """Which of its module's runs a layer is."""
        run = -1 if layer.run is None else layer.run
        return run % self.runs_seen[layer.module]
