"""How the outputs of a model's layers lie on the image, settled when they are first seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from camport.core.isolation.random_state import random_state_kept
from camport.core.maps.heatmap import Size
from camport.core.maps.loop import traced
from camport.core.maps.token_grid import AS_IT_IS, Grid, check_rows, readings, unlikely_readings
from camport.core.maps.widths import certain, evidence
from camport.core.running.call_model import called
from camport.core.running.doubt import Doubt, compared, placed
from camport.core.running.following import Following
from camport.core.running.layers import LayerName
from camport.core.running.origins import Origins
from camport.core.running.placing import Placing
from camport.core.running.turned import turned
from camport.errors import LayerError, MethodError

if TYPE_CHECKING:
    from camport.core.adapter import Adapter


class Readings:
    """The readings of a bound model's layers; what is settled holds for all later images, and for
    an exported file."""

    def __init__(self) -> None:
        # as last met; "" for the attentions of the model
        self._settled: dict[str, tuple[Grid, Size]] = {}
        self._at: dict[tuple[str, Size], Grid] = {}
        # layers whose places were followed, and the images' sizes
        self._followed = set[tuple[str, Size]]()

    def placing(self, layers: Sequence[LayerName], images: Tensor) -> Placing | None:
        """What follows the places through a first pass on images of a size; None where those of all
        layers were."""
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
            origins: the places of which each output is made, where they were followed through this
                pass.
            followed: False where they have to be followed again, since there are others that may
                lie otherwise.

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
                check_rows(
                    str(layer), output, images.shape[0], *(t.shape[0] for t in target.values())
                )
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
                    doubt = Doubt(
                        i, [_own(adapter, output, frame, double, module, str(layer))], [], None
                    )
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
                tokens = {
                    outputs[doubt.place].shape[1]
                    for doubt in doubts
                    if outputs[doubt.place].dim() == 3
                }
                call = partial(called, adapter, double, target=one)
                following = Following(double, call, images[:1], names, tokens)
                for doubt, name in zip(doubts, names, strict=True):
                    if known:
                        following.know(name, outputs[doubt.place][:1])
                    doubt.likely = [
                        placed(following, grid, f"layer {str(name)!r}") for grid in doubt.likely
                    ]
                    grid = compared(following, name, doubt, outputs[doubt.place])
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
        """How the n tokens of a model's attentions lie on the image, of which `grid` says how many
        lie on it and where.

        None where a module contradicts that.

        Raises LayerError where those that lie nowhere stand among them.
        """
        size: Size = (images.shape[-2], images.shape[-1])
        known, before = self._settled.get("", (grid, None))
        if traced() or (
            before == size and replace(known, prefix=grid.prefix, suffix=grid.suffix) == grid
        ):
            return known
        with random_state_kept(images.device):
            one = {name: value[:1] for name, value in target.items()}
            following = Following(
                double, partial(called, adapter, double, target=one), images[:1], (), {n}
            )
            order = placed(following, grid, "an attention")
            told = following.tokens(n, order)
        if told is not None and told.contradicts:
            return None
        self._settled[""] = (order, size)
        return order

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


def _own(
    adapter: Adapter, output: Tensor, size: Size, double: nn.Module, module: nn.Module, name: str
) -> Grid:
    grid: Any = adapter.grid(output, size, double, module, name)
    if not isinstance(grid, Grid):
        raise MethodError(
            f"{type(adapter).__name__}.grid returned {grid!r} for layer {name!r}; wanted a Grid"
        )
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
    """The reading of a layer whose places lie elsewhere, and whether they were moved where no one
    has seen it."""
    if origins is None or origins.as_it_is or output.dim() not in (3, 4):
        return None, False
    if origins.spectral:
        raise LayerError(
            f"layer {name!r} puts out {tuple(output.shape)}, made of a Fourier transform of the"
            " image: its places are frequencies and lie nowhere on it; choose a layer before the"
            " transform or behind its inverse, or use a method without a layer (saliency, rise)"
        )
    likely = readings(output, size, double, module)
    with suppress(LayerError):
        likely.insert(0, _own(adapter, output, size, double, module, name))
    if adapter.frames:  # it knows of crops and pads inside
        origins = origins.stretched()
    grid = turned(name, output, likely, origins) if origins.moved else None
    return grid, origins.unknown and not origins.standard


def _read(
    place: int,
    name: str,
    output: Tensor,
    size: Size,
    adapter: Adapter,
    double: nn.Module,
    module: nn.Module,
) -> Doubt | None:
    """What is to be compared; None where the reading is certain."""
    likely = readings(output, size, double, module)
    unlikely = unlikely_readings(output, size, double, module)
    try:
        own = _own(adapter, output, size, double, module, name)
    except LayerError as error:
        if not unlikely:
            raise
        return Doubt(place, [], unlikely, error)
    if own not in likely:
        return Doubt(place, [own], [], None)
    if output.dim() == 3:
        return Doubt(place, likely, unlikely, None)
    if certain(output, size, double, module):
        return None
    if evidence(output, size, double, module):
        return Doubt(place, likely[:1], likely[1:], None)
    neither = LayerError(
        f"layer {name!r} puts out {tuple(output.shape)}, and neither the model nor how this answers"
        " to a changed image tells which axis has the channels; choose a convolution or a"
        " normalisation beside it"
    )
    return Doubt(place, [], likely, neither)
