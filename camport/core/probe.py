"""The one evaluation of a model: activations, gradients and scores, lazily, as pure tensors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.core.adapter import Adapter
from camport.core.attention_mode import AttentionMode
from camport.core.behind import behind
from camport.core.calling import scored, without_graph
from camport.core.derivative import by_read, differentiate, differentiate_rows, hessian_products, wide
from camport.core.extremes import Extremes
from camport.core.grid import Grid
from camport.core.layers import LayerName, parse_layers
from camport.core.layout import Layout
from camport.core.leaves import Leaf
from camport.core.loop import Step, Tick, current_limit, current_loop, repeat, traced
from camport.core.memory import chunk_for, warn_if_short
from camport.core.mixing import Mixed, Mixing, mixes
from camport.core.reading import Readings
from camport.core.relu import ReluMode, ReluRule
from camport.core.turned import ElsewhereError
from camport.errors import LayerError, MethodError


class Probe:
    """A model, its adapter, a target and target layers, evaluated once and on demand: what is read decides what is run.

    Args:
        double: a private double of the model whose tensors do not require gradients.
        adapter: calls the model and scores what it says.
        layers: the target layers, empty for methods that need none.
        images: [b,c,H,W].
        target: the adapter's target tensors, not yet resolved.
        needs_gradients: record the tail in the first pass.
        validate: check outputs against the target; off while tracing.
        chunk: images in one pass of a loop; None: see `camport.core.memory`.
        progress: told how far a loop is.
        lists: the target is whatever the adapter finds in the outputs, several rows for one image.
        readings: how layers lie on the image, as far as it is settled.
        mixing: whether the model mixes the images of a batch, as far as that is found.
    """

    def __init__(
        self,
        double: nn.Module,
        adapter: Adapter,
        layers: list[LayerName],
        images: Tensor,
        target: Mapping[str, Tensor],
        *,
        needs_gradients: bool,
        validate: bool = False,
        chunk: int | None = None,
        progress: Tick | None = None,
        lists: bool = False,
        readings: Readings | None = None,
        mixing: Mixing | None = None,
    ) -> None:
        self.double, self.adapter, self.layers = double, adapter, layers
        self._images, self._given, self._lists = images, dict(target), lists
        self.chunk, self.progress = chunk or chunk_for(images), progress
        self._ask, self.used = Layout(adapter, double), set[str]()
        self.figures, self.readings = dict[str, Tensor](), readings or Readings()
        self.mixing = mixing or Mixing()
        self.relus_met: int | None = None
        self.runs_seen, self.extremes = dict[str, int](), Extremes()
        self._records, self._validate = needs_gradients, validate
        self._passed, self._recorded = False, needs_gradients
        self._outputs: Any = None
        self._target: dict[str, Tensor] = {}
        self._y: Tensor | None = None
        self._native: list[Tensor] = []
        self._grids: list[Grid] = []
        self._gradients: list[Tensor] | None = None
        self._unfused: Probe | None = None

    @property
    def images(self) -> Float[Tensor, "b c H W"]:
        """The images, one for each row of the target: one image that is asked about several times is repeated."""
        if self._lists:
            self._run()
        if not self.adapter.lists or self._images.shape[0] != 1:
            return self._images
        target = self._target if self._passed else self._given
        return self._images.expand(next(iter(target.values())).shape[0], -1, -1, -1)

    @property
    def shared(self) -> bool:
        """Whether one image serves several rows of the target."""
        return bool(self._images.shape[0] < self.images.shape[0])  # sizes are symbols while a graph is traced

    @property
    def outputs(self) -> Any:
        """What the model said, detached."""
        self._run()
        return self._outputs

    @property
    def target(self) -> dict[str, Tensor]:
        """The target with its defaults filled in from the outputs."""
        self._run()
        return self._target

    @property
    def y(self) -> Float[Tensor, " b"]:
        """The score y^c that is explained."""
        self._run()
        assert self._y is not None
        return wide(self._y.detach())

    @property
    def activations(self) -> list[Tensor]:
        """A [b,c,h,w] a target layer, in float32 or wider."""
        self.used.add("activations")
        self._run()
        return [grid.to_maps(wide(self._row_each(a))) for a, grid in zip(self._native, self._grids, strict=True)]

    @property
    def gradients(self) -> list[Tensor]:
        """d y^c / d activations, a [b,c,h,w] a target layer, in float32 or wider."""
        self.used.add("gradients")
        if self.layers and not self._records:
            raise MethodError(
                "probe.gradients were read, but the method's class declares needs_gradients = False; declare True"
            )
        self._run()
        if self._gradients is None:
            assert self._y is not None
            derive = differentiate_rows if self.shared else differentiate
            self._gradients = derive(self._y, self._native, self._layer_names())
            self._recorded = False
        return [grid.to_maps(g) for g, grid in zip(self._gradients, self._grids, strict=True)]

    def each(self, codes: Sequence[Tensor], step: Step, same: Tensor | None = None) -> Tensor:
        """`step` for each of r variants: codes `[r,...]`, handed over in chunks `[m,...]`, give results `[r,...]`.

        In PyTorch and in an exported file alike memory is that of one chunk. `step` calls `score`, `tail` or
        `input_gradient` on m variants of the images, or none of them.

        Args:
            codes: what tells the variants apart.
            step: `step(*codes)`, all of one chunk.
            same: bool `[r]`, variants known to be alike (a constant mask): eagerly one of them stands for all.
        """
        if same is not None and not traced() and current_limit().variants is None and int(same.sum()) > 1:
            other = (~same).nonzero()[:, 0]
            order = torch.cat([other, same.nonzero()[:1, 0]])
            distinct = self.each([code[order] for code in codes], step)
            results = distinct.new_empty((same.shape[0], *distinct.shape[1:]))
            results[other], results[same] = distinct[:-1], distinct[-1]
            return results
        return self._loop(codes, step, total=False)

    def total(self, codes: Sequence[Tensor], step: Step) -> Tensor:
        """The sum of what `each` gives, `[...]`, without ever holding more than a chunk of it."""
        return self._loop(codes, step, total=True)

    def score(self, images: Float[Tensor, "m r c H W"], *, probability: bool = False) -> Float[Tensor, "m b"]:
        """y^c for m variants of each image, masked or noisy ones, in one pass; many go through `each`.

        The target is the one of the clean images. `probability` asks for it as a probability where the task has one.
        Where one image serves several rows of the target, variants [m,1,c,H,W] of it may serve all rows as well.
        """
        self.used.add("score")
        images = images.to(self.images.dtype)  # activations, and so masks of them, are wide
        if images._is_view():
            images = images.clone()  # of the clean images, say; the model may write into them
        self._run()
        of = self.adapter.probability if probability else self.adapter.score
        with torch.no_grad():
            if images.shape[1] == 1 and self.shared:
                m, outputs = images.shape[0], self._call(images[:, 0], 1)
                rows = [{k: repeat(v[r : r + 1], m) for k, v in self.target.items()} for r in range(self.y.shape[0])]
                return torch.stack([wide(of(outputs, row)) for row in rows], 1)
            y = of(self._call(images.flatten(0, 1), images.shape[0]), self._repeated(images.shape[0]))
            return self.extremes.note(y.unflatten(0, images.shape[:2]), y.dtype)

    def note(self, name: str, figure: Callable[[], Tensor]) -> None:
        """Reports a figure beside the map, `Explanation.figures[name]`; what gives it is called eagerly only."""
        if not traced():
            self.figures[name] = figure().detach()

    def tail(self) -> Callable[[Float[Tensor, "m b c h w"]], Float[Tensor, "m b"]]:
        """A function that gives y^c where the target layer puts out other maps; it runs only what lies behind.

        It records one forward pass here and now; many variants go through `each`.
        """
        self.used.update(("activations", "tail"))
        self._run()
        if len(self.layers) != 1:
            raise LayerError(f"a tail begins at one layer, {len(self.layers)} were given: {self.layers}")
        tail = behind(self, LayerName(self.layers[0].module, self._run_index(self.layers[0])))
        return lambda maps: self.extremes.note(tail(maps), self._images.dtype)

    def input_gradient(
        self, images: Float[Tensor, "m b c H W"] | None = None, relu: ReluRule | None = None
    ) -> Float[Tensor, "..."]:
        """d y^c / d images `[b,c,H,W]`, or for m variants of each image `[m,b,c,H,W]`, in one pass.

        `relu=None` is the true gradient, "guided" guided backpropagation, "deconvnet" the deconvnet.
        """
        self.used.add("gradients")
        leaf = (self.images if images is None else images.flatten(0, 1)).detach().requires_grad_()
        mode = ReluMode(relu) if relu else None
        with torch.enable_grad(), mode or nullcontext():
            outputs = self.run_with(leaf.clone()) if images is None else self._call(leaf.clone(), images.shape[0])
            y = self.adapter.score(outputs, self.target if images is None else self._repeated(images.shape[0]))
        if mode:
            self.relus_met = mode.met
        (gradient,) = differentiate(y, [leaf], ["the images"])
        return gradient if images is None else gradient.unflatten(0, images.shape[:2])

    def run_with(self, images: Float[Tensor, "b c H W"]) -> Any:
        """What the model says of the clean images, in a pass of its own; without layers it is the probe's only one."""
        outputs = self._call(images)
        if not (self._passed or self.layers):
            self._note(outputs)
        return outputs

    def hessian_product(self, vectors: Sequence[Tensor]) -> list[Tensor]:
        """H v at each target layer for `vectors`, a `[b,c,h,w]` a layer; H the second derivative of y^c there.

        Zero where the model is piecewise linear behind the layer. Before `gradients` is read it costs no further
        forward pass, and brings the gradients along.
        """
        self.used.add("gradients")
        source = self._unfused or (self if self._recorded and not self.shared else self.at())
        try:
            gradients, products = source._curvature(vectors)
        except LayerError:
            with AttentionMode(lambda p: p):  # a fused attention has a gradient, but that has none
                source = self._unfused = self.at()
                gradients, products = source._curvature(vectors)
        self._gradients = self._gradients or gradients
        return [grid.to_maps(h) for h, grid in zip(products, source._grids, strict=True)]

    def at(self, images: Float[Tensor, "m b c H W"] | None = None, layers: Sequence[str] | None = None) -> Probe:
        """A probe of the same model and target at other images, m variants of each as one batch, or other layers."""
        self._run()
        new = Probe(
            self.double,
            self.adapter,
            self.layers if layers is None else parse_layers(self.double, layers),
            self.images if images is None else images.flatten(0, 1),
            self.target if images is None else self._repeated(images.shape[0]),
            needs_gradients=True,
            chunk=self.chunk,
            readings=self.readings,
            mixing=self.mixing,
        )
        new.used = self.used
        return new

    def score_weights(self) -> list[tuple[Tensor, Tensor]]:
        """Each floating-point tensor that y^c is computed of, and d y^c / d it: a one-hot for a logit."""
        return by_read(self.outputs, lambda outputs: self.adapter.score(outputs, self.target))

    def _curvature(self, vectors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Gradients, and Hessian products of these maps, both as the layers put their values out."""
        self._run()
        assert self._y is not None
        pairs = zip(self._native, self._grids, vectors, strict=True)
        native = [grid.from_maps(v.to(a.dtype), torch.zeros_like(a)) for a, grid, v in pairs]
        return hessian_products(self._y, self._native, native, self._layer_names())

    def _run(self) -> None:
        if self._passed:
            return
        leaves = [Leaf(layer, self.double, self._records) for layer in self.layers]
        try:
            images = self._images.clone()  # the model may write into them
            placing = self.readings.placing(self.layers, images)
            with torch.set_grad_enabled(self._records):
                with placing or nullcontext():
                    outputs = self._call(images)
                again = placing is None or placing.decides
                self.runs_seen.update({leaf.layer.module: len(leaf.tensors) for leaf in leaves})
                self._native = [leaf.output() for leaf in leaves]
                self._note(outputs)
        finally:
            for leaf in leaves:
                leaf.remove()
        seen = (self.layers, self._native, self._images, self._given)
        origins = None if placing is None else [placing.of(a) for a in self._native]
        try:
            self._grids = self.readings.of(*seen, self.adapter, self.double, origins=origins, followed=not again)
        except ElsewhereError as error:
            if placing is not None and again and self._images.shape[0] > 1:
                raise Mixed("moves the places of some images and not of others") from error
            raise

    def _loop(self, codes: Sequence[Tensor], step: Step, total: bool) -> Tensor:
        b = self.images.shape[0]
        chunk = self.chunk if traced() else max(1, self.chunk // b)
        progress = self.progress
        if not traced():
            warn_if_short(self.images, min(self.chunk, codes[0].shape[0] * b))
        tick = (lambda done, of: progress(done * b, of * b)) if progress else None
        _ = self.target  # known before the loop, so that the clean images are not run in it
        if (chunk > 1 or self._images.shape[0] > 1) and mixes(self, alone=True):
            if self._images.shape[0] > 1:
                raise Mixed
            chunk = 1
        r, limit = codes[0].shape[0], current_limit()
        if limit.variants is None or r <= limit.variants:
            return current_loop()(step, codes, chunk, total, tick)
        limit.cut = True
        part = current_loop()(step, [code[: limit.variants] for code in codes], chunk, total, tick)
        return part if total else part[torch.arange(r, device=part.device) % limit.variants]

    def _repeated(self, m: int) -> dict[str, Tensor]:
        """The target of m variants of each image, variant by variant."""
        return {k: repeat(v, m) for k, v in self.target.items()}

    def _note(self, outputs: Any) -> None:
        if self._validate and self.adapter.settles_in_passing:
            self.adapter = self._ask.adapter = self.adapter.settled(self.double, outputs)
        found = scored(self.adapter, outputs, self._given, self._lists, validate=self._validate)
        self._target, self._y = found
        self._outputs, self._passed = without_graph(outputs), True

    def _call(self, images: Tensor, m: int | None = None) -> Any:
        """What the model says about the target, of the clean images or of m variants of each."""
        first = self._given if not self._passed else self.target
        target = first if m is None else self._repeated(m)
        return self._ask(images, target, m is not None)

    def _row_each(self, activation: Tensor) -> Tensor:
        """Activations, detached, with a row for each row of the target."""
        shared = activation.shape[0] == 1 and self.shared
        activation = activation.detach()
        return activation.expand(self.images.shape[0], *activation.shape[1:]) if shared else activation

    def _layer_names(self) -> list[str]:
        return [f"layer {str(name)!r}" for name in self.layers]

    def _run_index(self, layer: LayerName) -> int:
        run = -1 if layer.run is None else layer.run
        return run % self.runs_seen[layer.module]
