"""The one evaluation of a model: activations, gradients and scores, lazily, as pure tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from jaxtyping import Float
from torch import Tensor

from camport.core.adapter import Adapter
from camport.core.maps.loop import Step, Tick, traced
from camport.core.running.behind import behind
from camport.core.running.chunk_size import chunk_for
from camport.core.running.curvature import hessian_product
from camport.core.running.derivative import by_read, wide
from camport.core.running.evaluation import Evaluation
from camport.core.running.extremes import Extremes
from camport.core.running.layers import LayerName, parse_layers
from camport.core.running.mixing import Mixing
from camport.core.running.relu_rules import ReluRule
from camport.core.running.variants import input_gradients, looped, mapped, scores
from camport.errors import LayerError, MethodError


class Probe:
    """A model, its adapter, a target and target layers, evaluated once and on demand: what is read
    decides what is run.

    Args:
        evaluation: of the model on images: its one forward pass.
        chunk: images in one pass of a loop; None: see `camport.core.running.chunk_size`.
        progress: told how far a loop is.
        mixing: whether the model mixes the images of a batch, as far as that is found.
    """

    def __init__(
        self,
        evaluation: Evaluation,
        *,
        chunk: int | None = None,
        progress: Tick | None = None,
        mixing: Mixing | None = None,
    ) -> None:
        self.evaluation, self.mixing = evaluation, mixing or Mixing()
        self.double, self.layers = evaluation.double, evaluation.layers
        self.chunk, self.progress = chunk or chunk_for(evaluation.images), progress
        self.used, self.figures, self.extremes = set[str](), dict[str, Tensor](), Extremes()
        self.relus_met: int | None = None
        # one whose attention is not fused: a fused one has a gradient and no second derivative
        self.unfused: Probe | None = None

    @property
    def adapter(self) -> Adapter:
        """The adapter, settled as soon as the model has run."""
        return self.evaluation.adapter

    @property
    def runs_seen(self) -> dict[str, int]:
        """How often each layer's module ran in the forward pass."""
        return self.evaluation.runs_seen

    @property
    def images(self) -> Float[Tensor, "b c H W"]:
        """The images, one for each row of the target: one image that is asked about several times
        is repeated."""
        return self.evaluation.each_row

    @property
    def shared(self) -> bool:
        """Whether one image serves several rows of the target."""
        return self.evaluation.shared

    @property
    def outputs(self) -> Any:
        """What the model said, detached."""
        self.evaluation.run()
        return self.evaluation.outputs

    @property
    def target(self) -> dict[str, Tensor]:
        """The target with its defaults filled in from the outputs."""
        self.evaluation.run()
        return self.evaluation.target

    @property
    def y(self) -> Float[Tensor, " b"]:
        """The score y^c that is explained."""
        return wide(self.evaluation.y.detach())

    @property
    def activations(self) -> list[Tensor]:
        """A [b,c,h,w] a target layer, in float32 or wider."""
        self.used.add("activations")
        seen = self.evaluation
        seen.run()
        return [
            grid.to_maps(wide(seen.rows_of(a)))
            for a, grid in zip(seen.native, seen.grids, strict=True)
        ]

    @property
    def gradients(self) -> list[Tensor]:
        """d y^c / d activations, a [b,c,h,w] a target layer, in float32 or wider."""
        self.used.add("gradients")
        if self.layers and not self.evaluation.records:
            raise MethodError(
                "probe.gradients were read, but the method's class declares needs_gradients ="
                " False; declare True"
            )
        return [
            grid.to_maps(g)
            for g, grid in zip(self.evaluation.gradients(), self.evaluation.grids, strict=True)
        ]

    def each(self, codes: Sequence[Tensor], step: Step, same: Tensor | None = None) -> Tensor:
        """`step` for each of r variants: codes `[r,...]`, handed over in chunks `[m,...]`, give
        results `[r,...]`.

        In PyTorch and in an exported file alike memory is that of one chunk. `step` calls `score`,
        `tail` or `input_gradient` on m variants of the images, or none of them.

        Args:
            codes: what tells the variants apart.
            step: `step(*codes)`, all of one chunk.
            same: bool `[r]`, variants known to be alike (a constant mask): eagerly one of them
                stands for all.
        """
        return mapped(self, codes, step, same)

    def total(self, codes: Sequence[Tensor], step: Step) -> Tensor:
        """The sum of what `each` gives, `[...]`, without ever holding more than a chunk of it."""
        return looped(self, codes, step, total=True)

    def score(
        self, images: Float[Tensor, "m r c H W"], *, probability: bool = False
    ) -> Float[Tensor, "m b"]:
        """y^c for m variants of each image, masked or noisy ones, in one pass; many go through
        `each`.

        The target is the one of the clean images. `probability` asks for it as a probability where
        the task has one. Where one image serves several rows of the target, variants [m,1,c,H,W] of
        it may serve all rows as well.
        """
        self.used.add("score")
        return scores(self, images, probability)

    def note(self, name: str, figure: Callable[[], Tensor]) -> None:
        """Reports a figure beside the map, `Explanation.figures[name]`; what gives it is called
        eagerly only."""
        if not traced():
            self.figures[name] = figure().detach()

    def tail(self) -> Callable[[Float[Tensor, "m b c h w"]], Float[Tensor, "m b"]]:
        """A function that gives y^c where the target layer puts out other maps; it runs only what
        lies behind.

        It records one forward pass here and now; many variants go through `each`.
        """
        self.used.update(("activations", "tail"))
        self.evaluation.run()
        if len(self.layers) != 1:
            raise LayerError(
                f"a tail begins at one layer, {len(self.layers)} were given: {self.layers}"
            )
        tail = behind(
            self, LayerName(self.layers[0].module, self.evaluation.run_index(self.layers[0]))
        )
        return lambda maps: self.extremes.note(tail(maps), self.evaluation.images.dtype)

    def input_gradient(
        self, images: Float[Tensor, "m b c H W"] | None = None, relu: ReluRule | None = None
    ) -> Float[Tensor, "..."]:
        """d y^c / d images `[b,c,H,W]`, or for m variants of each image `[m,b,c,H,W]`, in one pass.

        `relu=None` is the true gradient, "guided" guided backpropagation, "deconvnet" the
        deconvnet.
        """
        self.used.add("gradients")
        return input_gradients(self, images, relu)

    def run_with(self, images: Float[Tensor, "b c H W"]) -> Any:
        """What the model says of the clean images, in a pass of its own; without layers it is the
        probe's only one."""
        outputs = self.evaluation.call(images)
        if not (self.evaluation.passed or self.layers):
            self.evaluation.hear(outputs)
        return outputs

    def hessian_product(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """H v at each target layer for `vectors`, a `[b,c,h,w]` a layer; H the second derivative of
        y^c there.

        Zero where the model is piecewise linear behind the layer. Before `gradients` is read it
        costs no further forward pass, and brings the gradients along.
        """
        self.used.add("gradients")
        return hessian_product(self, vectors)

    def at(
        self, images: Float[Tensor, "m b c H W"] | None = None, layers: Sequence[str] | None = None
    ) -> Probe:
        """A probe of the same model and target at other images, m variants of each as one batch, or
        other layers."""
        seen = self.evaluation
        seen.run()
        at = Evaluation(
            self.double,
            self.adapter,
            self.layers if layers is None else parse_layers(self.double, layers),
            self.images if images is None else images.flatten(0, 1),
            self.target if images is None else seen.repeated(images.shape[0]),
            records=True,
            readings=seen.readings,
        )
        new = Probe(at, chunk=self.chunk, mixing=self.mixing)
        new.used = self.used
        return new

    def score_weights(self) -> list[tuple[Tensor, Tensor]]:
        """Each floating-point tensor that y^c is computed of, and d y^c / d it: a one-hot for a
        logit."""
        return by_read(self.outputs, lambda outputs: self.adapter.score(outputs, self.target))
