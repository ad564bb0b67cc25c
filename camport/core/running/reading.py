"""How the outputs of a model's layers lie on the image, settled when they are first seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from camport.core.isolation.random_state import random_state_kept
from camport.core.maps.heatmap import Size
from camport.core.maps.loop import traced
from camport.core.maps.token_grid import AS_IT_IS, REMEDY, Grid, check_rows, readings, unlikely_readings
from camport.core.maps.widths import certain, evidence
from camport.core.running.call_model import called
from camport.core.running.following import Answer, Following
from camport.core.running.layers import LayerName
from camport.core.running.placing import Origins, Placing
from camport.core.running.turned import sought, turned
from camport.errors import LayerError, MethodError, ModelError

if TYPE_CHECKING:
    from camport.core.adapter import Adapter

CLEARLY = 0.25
"""A likely reading that is followed so well is not compared with others."""


@dataclass
class _Doubt:
    """A layer whose reading is to be compared with how it follows the image.

    Attributes:
        place: among the layers.
        likely: readings that shape and model speak for, the likeliest first; adapters give one of their own.
        unlikely: readings that are believed only where the output follows the image.
        error: what is to be said where there is no likely reading and none is followed.
        moved: its places were moved in the forward pass, it was not seen where to.
    """

    place: int
    likely: list[Grid]
    unlikely: list[Grid]
    error: LayerError | None
    moved: bool = False


class Readings:
    """The readings of a bound model's layers; what is settled holds for all later images, and for an exported file."""

    def __init__(self) -> None:
        self._settled: dict[str, tuple[Grid, Size]] = {}  # as last met; "" for the attentions of the model
        self._at: dict[tuple[str, Size], Grid] = {}
        self._followed = set[tuple[str, Size]]()  # layers whose places were followed, and the images' sizes

    def placing(self, layers: Sequence[LayerName], images: Tensor) -> Placing | None:
        """What follows the places through a first pass on images of a size; None where those of all layers were."""
        size = (images.shape[-2], images.shape[-1])
        new = not traced() and any((str(layer), size) not in self._followed for layer in layers)
        return Placing(images) if new else None

    def of(
        self,
        layers: Sequence[LayerName],
        outputs: Sequence[Tensor],
        images: Tensor,
        target: Mapping[str, Tensor],
        adapter: Adapter,
        double: nn.Module,
        known: bool = True,
        origins: Sequence[Origins] | None = None,
        followed: bool = True,
    ) -> list[Grid]:
        """The reading of each layer.

        Args:
            layers: their names.
            outputs: what they put out.
            images: [b,c,H,W].
            target: of this pass; one image may serve several rows of it.
            adapter: reads a layout from a shape and the model.
            double: the model.
            known: False where only the shapes of `outputs` are theirs.
            origins: the places of which each output is made, where they were followed through this pass.
            followed: False where they have to be followed again, since there are others that may lie otherwise.

        Raises:
            LayerError: an output that is no map over the image, or not told to be one.
        """
        size: Size = (images.shape[-2], images.shape[-1])
        frame = adapter.frame(size, double)
        found: list[Grid | None] = []
        doubts = []
        for i, (layer, output) in enumerate(zip(layers, outputs, strict=True)):
            module = double.get_submodule(layer.module)
            if not traced():
                check_rows(str(layer), output, images.shape[0], *(t.shape[0] for t in target.values()))
            grid = self._known(str(layer), output, size)
            origin = None if origins is None else origins[i]
            if origin is not None and grid is not None and (str(layer), size) not in self._followed:
                grid = grid if origin.as_it_is and grid.turn == AS_IT_IS else None
            if grid is None:
                grid, moved = _turned(str(layer), output, frame, adapter, double, module, origin)
                if grid is not None:
                    found.append(grid)
                    continue
                doubt = _read(i, str(layer), output, frame, adapter, double, module)
                if doubt is None and moved:
                    doubt = _Doubt(i, [_own(adapter, output, frame, double, module, str(layer))], [], None)
                if doubt is not None:
                    doubt.moved = moved
                if doubt is None or traced():
                    grid = _own(adapter, output, frame, double, module, str(layer))
                    self._settled[str(layer)] = (grid, size)  # of a graph, which is not kept below
                else:
                    doubts.append(doubt)
            found.append(grid)
        if doubts:
            with random_state_kept(images.device):
                one = {name: value[:1] for name, value in target.items()}
                names = [layers[doubt.place] for doubt in doubts]
                tokens = {outputs[doubt.place].shape[1] for doubt in doubts if outputs[doubt.place].dim() == 3}
                call = partial(called, adapter, double, target=one)
                following = Following(double, call, images[:1], names, tokens)
                for doubt, name in zip(doubts, names, strict=True):
                    if known:
                        following.know(name, outputs[doubt.place][:1])
                    doubt.likely = [_placed(following, grid, f"layer {str(name)!r}") for grid in doubt.likely]
                    grid = _compared(following, name, doubt, outputs[doubt.place])
                    found[doubt.place] = grid
        read = [grid for grid in found if grid is not None]
        if not traced():
            for shown, settled in zip(map(str, layers), read, strict=True):
                self._at[shown, size] = settled
                self._settled[shown] = settled, size
                if origins is not None and followed:
                    self._followed.add((shown, size))
        return read

    def orders(
        self,
        n: int,
        grid: Grid,
        images: Tensor,
        target: Mapping[str, Tensor],
        adapter: Adapter,
        double: nn.Module,
    ) -> Grid | None:
        """How the n tokens of a model's attentions lie on the image, of which `grid` says how many lie on it and where.

        None where a module contradicts that.

        Raises LayerError where those that lie nowhere stand among them.
        """
        size: Size = (images.shape[-2], images.shape[-1])
        known, before = self._settled.get("", (grid, None))
        if traced() or (before == size and replace(known, prefix=grid.prefix, suffix=grid.suffix) == grid):
            return known
        with random_state_kept(images.device):
            one = {name: value[:1] for name, value in target.items()}
            following = Following(double, partial(called, adapter, double, target=one), images[:1], (), {n})
            placed = _placed(following, grid, "an attention")
            told = following.tokens(n, placed)
        if told is not None and told.contradicts:
            return None
        self._settled[""] = (placed, size)
        return placed

    def _known(self, name: str, output: Tensor, size: Size) -> Grid | None:
        """The settled reading, where it holds for images of this size."""
        if name not in self._settled:
            return None
        if all(isinstance(n, int) for n in size) and (name, size) in self._at:
            return self._at[name, size]
        grid, before = self._settled[name]
        if grid.size is None:
            return grid
        if all(isinstance(n, int) for n in size):  # symbols while a graph of any size is recorded
            return grid if size == before else None
        places = output.shape[2 if grid.layout == "signal" else 1] - grid.prefix - grid.suffix
        if grid.size[0] == 1:
            return replace(grid, size=(1, places))
        return replace(grid, size=(places, 1)) if grid.size[1] == 1 else None


def _own(adapter: Adapter, output: Tensor, size: Size, double: nn.Module, module: nn.Module, name: str) -> Grid:
    grid: Any = adapter.grid(output, size, double, module, name)
    if not isinstance(grid, Grid):
        raise MethodError(f"{type(adapter).__name__}.grid returned {grid!r} for layer {name!r}; wanted a Grid")
    return grid


def _turned(
    name: str,
    output: Tensor,
    size: Size,
    adapter: Adapter,
    double: nn.Module,
    module: nn.Module,
    origins: Origins | None,
) -> tuple[Grid | None, bool]:
    """The reading of a layer whose places lie elsewhere, and whether they were moved where no one has seen it."""
    if origins is None or origins.as_it_is or output.dim() not in (3, 4):
        return None, False
    if origins.spectral:
        raise LayerError(
            f"layer {name!r} puts out {tuple(output.shape)}, made of a Fourier transform of the image: its places are "
            "frequencies and lie nowhere on it; choose a layer before the transform or behind its inverse, or use a "
            "method without a layer (saliency, rise)"
        )
    likely = readings(output, size, double, module)
    with suppress(LayerError):
        likely.insert(0, _own(adapter, output, size, double, module, name))
    if adapter.frames:  # it knows of crops and pads inside
        origins = origins.stretched()
    grid = turned(name, output, likely, origins) if origins.moved else None
    return grid, origins.unknown and not origins.standard


def _read(
    place: int, name: str, output: Tensor, size: Size, adapter: Adapter, double: nn.Module, module: nn.Module
) -> _Doubt | None:
    """What is to be compared; None where the reading is certain."""
    likely = readings(output, size, double, module)
    unlikely = unlikely_readings(output, size, double, module)
    try:
        own = _own(adapter, output, size, double, module, name)
    except LayerError as error:
        if not unlikely:
            raise
        return _Doubt(place, [], unlikely, error)
    if own not in likely:
        return _Doubt(place, [own], [], None)
    if output.dim() == 3:
        return _Doubt(place, likely, unlikely, None)
    if certain(output, size, double, module):
        return None
    if evidence(output, size, double, module):
        return _Doubt(place, likely[:1], likely[1:], None)
    neither = LayerError(
        f"layer {name!r} puts out {tuple(output.shape)}, and neither the model nor how this answers to a changed image "
        "tells which axis has the channels; choose a convolution or a normalisation beside it"
    )
    return _Doubt(place, [], likely, neither)


def _compared(following: Following, name: LayerName, doubt: _Doubt, output: Tensor) -> Grid:
    """The reading that the output follows; where it tells nothing, as the nearest layer does that tells it, or the
    likeliest.
    """
    try:
        alone = following.output(name, (int(following.image.shape[3] > 1), 0))
    except ModelError:
        alone = output[:0]
    if output.shape[0] == output.shape[1] > 1 == alone.shape[1]:
        check_rows(str(name), alone, 1)  # as many images as tokens, and the tokens are first
    if alone.shape != output[:1].shape:  # the model takes no single image, so nothing can be told
        if doubt.error is not None:
            raise doubt.error
        return doubt.likely[0]
    if doubt.moved and output.dim() == 4:
        grid = sought(
            doubt.likely,
            lambda grid: following.both(name, grid),
            lambda grid: following.ends(name, grid),
        )
        if grid is not None:
            return grid
    grids = [*doubt.likely, *doubt.unlikely]
    rows = [grid for grid in grids if grid.layout == "signal"]
    if not any(following.answer(name, grid).follows for grid in rows):
        _check_joined(following, name, grids, output)
    answers = [following.answer(name, grid) for grid in doubt.likely]
    best, local = _first(doubt.likely, [answer.local if answer.follows else 0.0 for answer in answers])
    if local >= CLEARLY:
        assert best is not None
        return best
    answers += [following.answer(name, grid) for grid in doubt.unlikely]
    best = _best(doubt, answers)
    if best is None and not _contradicted(doubt, answers):
        told = following.nearest(
            name, output[:1].shape, grids, lambda a: _contradicted(doubt, a) or _best(doubt, a) is not None
        )
        answers = told or answers
        best = _best(doubt, answers)
    if best is not None:
        return best
    if doubt.error is not None:
        raise doubt.error
    if not _contradicted(doubt, answers):
        return doubt.likely[0]
    raise LayerError(
        f"layer {str(name)!r} puts out {tuple(output.shape)}, whose places do not lie on the image as a map's: "
        "one half of them does not answer to that half of the image. Tokens in the order of windows or units (Hiera, "
        f"NesT), queries and attention's matrices are such; {REMEDY}"
    )


def _check_joined(following: Following, name: LayerName, grids: Sequence[Grid], output: Tensor) -> None:
    """LayerError where more tokens than a reading leaves out are moved by no part of the image: those of a text."""
    if output.dim() != 3:
        return
    n = output.shape[1]
    still = len(following.still(n))
    if still > max(grid.prefix + grid.suffix for grid in grids):
        raise LayerError(
            f"layer {str(name)!r} puts out {n} tokens, and the image moves {n - still} of them alone: the others are "
            f"a text's or queries in the same row; {REMEDY}"
        )


def _placed(following: Following, grid: Grid, what: str) -> Grid:
    """The reading with class and register tokens where they stand, before the image's or behind them."""
    if grid.layout != "tokens" or grid.size is None or not grid.prefix or grid.suffix:
        return grid
    n = grid.prefix + grid.size[0] * grid.size[1]
    still = following.still(n)
    if len(still) != grid.prefix:
        return grid
    before = next((i for i, place in enumerate(still) if place != i), len(still))
    if still[before:] != list(range(n - len(still) + before, n)):
        raise LayerError(
            f"{what} has {n} tokens, and those that lie nowhere on the image, which it does not move, stand among the "
            f"others, at {still}; {REMEDY}"
        )
    return replace(grid, prefix=before, suffix=len(still) - before)


def _contradicted(doubt: _Doubt, answers: Sequence[Answer]) -> bool:
    """Whether the output answers to the image otherwise than the likely readings say, or else than all."""
    return all(answer.contradicts for answer in answers[: len(doubt.likely)] or answers)


def _best(doubt: _Doubt, answers: Sequence[Answer]) -> Grid | None:
    """The reading that is followed best; an unlikely one only where it is followed far better."""
    likely, unlikely = answers[: len(doubt.likely)], answers[len(doubt.likely) :]
    first = _first(doubt.likely, [answer.local if answer.follows else 0.0 for answer in likely])
    share, least = (0.5, 0.05) if likely and _contradicted(doubt, answers) else (0.6, 0.3)
    strong = [answer.local if answer.local >= max(share * answer.moved, least) else 0.0 for answer in unlikely]
    other = _first(doubt.unlikely, strong)
    return first[0] if first[1] >= other[1] / 2 else other[0]


def _first(grids: Sequence[Grid], local: Sequence[float]) -> tuple[Grid | None, float]:
    """The first of the grids that are followed nearly as well as any, and how well."""
    best = max(local, default=0.0)
    pairs = zip(grids, local, strict=True)
    return next(((grid, value) for grid, value in pairs if value > 0 and value >= 0.7 * best), (None, 0.0))
