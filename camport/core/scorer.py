"""The score of what was explained, in any changed images: what masking methods ask, for metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from camport.core.bound import Bound
from camport.core.isolation.random_state import random_state_kept
from camport.core.isolation.writes import restarted
from camport.core.maps.loop import in_chunks
from camport.core.probe import Probe
from camport.core.running.call_model import one_each
from camport.core.running.channels_last import Layout
from camport.core.running.checks import check_images
from camport.core.running.chunk_size import within_memory
from camport.core.running.derivative import wide
from camport.core.running.evaluation import Evaluation
from camport.core.running.mixing import mixes
from camport.errors import InputError

Variants = Callable[[Int[Tensor, " m"]], Float[Tensor, "m b c H W"]]
"""Makes the variants of the images that have these numbers."""


class Scorer:
    """A model, an adapter and a target that is resolved on clean images:
    the target's score in any others.

    Made by `Scorer.of(bound, images, target)`; one scorer serves every method on the same images.
    It holds a private double of the model, which shares the model's tensors.

    Attributes:
        images: [b,c,H,W], one for each row of the target.
        target: the resolved target's tensors, a row an image.
        probability: [b] of the clean images, the score itself where the task has no probability.
        y: [b], the score of the clean images.
    """

    def __init__(self, model: nn.Module, probes: Sequence[Probe]) -> None:
        first = probes[0]
        self.adapter, self._chunk = first.adapter, first.chunk
        self._model = model
        if first.mixing.found:
            self._chunk = 1  # the images of a batch are mixed
        self._double, self._ask = first.double, Layout(first.adapter, first.double)
        self.images = torch.cat([p.images for p in probes]) if len(probes) > 1 else first.images
        self.target = {k: torch.cat([p.target[k] for p in probes]) for k in first.target}
        self.y = torch.cat([p.y for p in probes])
        self.probability = torch.cat([_probability(p) for p in probes])

    @classmethod
    def of(cls, bound: Bound, images: Tensor, target: Any = None) -> Scorer:
        """The scorer of what `bound(images, target)` explains; one forward pass.

        Raises:
            CamportError: as a call of `bound`.
        """
        images = check_images(images, bound.model)
        lists = target is None and bound.adapter.lists

        def probe(part: Tensor) -> Probe:
            given = bound._prepared(target, part)
            return restarted(lambda: _started(bound, part, given, lists))

        with aside(images, bound.model):
            probes = [probe(part) for part in (images.split(1) if lists else [images])]
            # any images may be scored beside one another later
            if mixes(probes[0], alone=True) and probes[0].evaluation.images.shape[0] > 1:
                each = one_each(bound._prepared(target, images), len(images))
                pairs = list(zip(images.split(1), each, strict=True))
                probes = [
                    restarted(partial(_started, bound, part, one, False)) for part, one in pairs
                ]
            return cls(bound.model, probes)

    def __call__(
        self,
        images: Float[Tensor, "n c H W"],
        rows: Int[Tensor, " n"] | None = None,
        *,
        probability: bool = True,
    ) -> Float[Tensor, " n"]:
        """The score of row `rows[i]` of the target in image i,
        as a probability where the task has one.

        Args:
            images: any number, run in batches.
            rows: of the target; None where there is an image for each row, in their order.
            probability: False for the score y^c itself.

        Raises:
            InputError: as many images as rows are wanted where `rows` is None.
        """
        b, n = self.y.shape[0], images.shape[0]
        if rows is None and n != b:
            raise InputError(
                f"{n} images for {b} rows of the target; say whose each image is: rows=[n]"
            )
        rows = torch.arange(b, device=images.device) if rows is None else rows.to(images.device)
        of = self.adapter.probability if probability else self.adapter.score

        def scores(part: Tensor, at: Tensor) -> Tensor:
            target = {name: value[at] for name, value in self.target.items()}
            # a copy, since a model may write into its input
            outputs = self._ask(part.to(self.images.dtype, copy=True), target, True)
            return wide(of(outputs, target))

        with aside(images, self._model), torch.no_grad():
            return in_chunks(scores, [images, rows], self._chunk, False, None)

    def lay(self, maps: Float[Tensor, "b h w"]) -> Float[Tensor, "b H W"]:
        """A method's maps at the images' size, where they lie on the images."""
        return self.adapter.lay(maps, (self.images.shape[-2], self.images.shape[-1]), self._double)

    def each(
        self, number: int, variants: Variants, *, probability: bool = True
    ) -> Float[Tensor, "m b"]:
        """The scores of `number` variants of every image,
        of which a batch is made and held at a time.

        Args:
            number: m, how many.
            variants: takes numbers below m and gives these variants of all images.
            probability: as in a call.
        """
        b, device = self.y.shape[0], self.images.device

        def scores(numbers: Tensor) -> Tensor:
            rows = torch.arange(b, device=device).repeat(len(numbers))
            found = self(variants(numbers).flatten(0, 1), rows, probability=probability)
            return found.unflatten(0, (len(numbers), b))

        with aside(self.images, self._model):
            return in_chunks(
                scores, [torch.arange(number, device=device)], max(1, self._chunk // b), False, None
            )


def _started(bound: Bound, images: Tensor, given: Mapping[str, Tensor], lists: bool) -> Probe:
    """A probe without layers that was run on the clean images."""
    bound._settle(images, given, lists)
    clean = Evaluation(
        bound._double(), bound.adapter, [], images, given, records=False, validate=True, lists=lists
    )
    probe = Probe(clean, chunk=bound.chunk, mixing=bound._mixing)
    _ = probe.target
    return probe


def _probability(probe: Probe) -> Float[Tensor, " b"]:
    with torch.no_grad():
        if not probe.shared:
            return wide(probe.adapter.probability(probe.outputs, probe.target))
        rows = [{k: v[r : r + 1] for k, v in probe.target.items()} for r in range(probe.y.shape[0])]
        return torch.cat([wide(probe.adapter.probability(probe.outputs, row)) for row in rows])


@contextmanager
def aside(images: Tensor, model: nn.Module) -> Iterator[None]:
    """Outside of inference mode; what the model draws leaves the process's generators as they
    are."""
    with (
        within_memory(images),
        torch.inference_mode(False),
        random_state_kept(images.device, model),
    ):
        yield
