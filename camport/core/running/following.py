"""How a layer's output follows the image: what changes in its right half has to move the right half
of the maps.

This tells where the places are whatever a module is called and however its values were laid out,
and that tokens stand in the order of the image's rows.
"""

from collections.abc import Callable, Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from camport.core.maps.token_grid import Grid
from camport.core.running.layers import LayerName
from camport.core.running.leaves import Leaf, leaves_at
from camport.core.running.recorder import Ran, Recorder, first_tensor

LOCAL = 0.3
"""Of what moves, at least this share moves as the places of the maps say."""
MOVES = 0.15
"""Less is no evidence: the output answers to a change of either half alike, as behind an attention
over everything."""
FIRST, LAST = 2, 3
"""The sides 0 and 1 are halves of the image, these its outer quarters."""
EVENTS = 16
"""So many of the first tensors of tokens are looked at for those that stand still."""
COARSE = 8
Half = tuple[int, int] | None
"""Which part of the image is changed, as axis and side; None is the image as it is."""
_HALVES = ((0, 0), (0, 1), (1, 0), (1, 1))
ROUNDING = 1e-5
"""A change of the output that is smaller, relative to its values, may be rounding and tells
nothing."""


@dataclass(frozen=True)
class Answer:
    """How maps answer to a change of one half of the image and of the other.

    Attributes:
        moved: total variation between the two answers, each as a share for each place; 0 where they
            are alike.
        local: the part of it by which each half of the maps answers more to its own half of the
            image.
    """

    moved: float
    local: float

    @property
    def follows(self) -> bool:
        """Whether the maps lie on the image."""
        return self.local >= max(LOCAL * self.moved, 0.01)

    @property
    def contradicts(self) -> bool:
        """Whether they do not, while they answer to the halves differently."""
        return self.moved >= MOVES and not self.follows


@dataclass(frozen=True)
class _Pass:
    """What one pass tells.

    Attributes:
        leaves: what the layers put out, by name.
        met: for each number of tokens n the first tensors [n,c] that modules take and put out.
    """

    leaves: dict[str, Leaf]
    met: dict[int, list[Tensor]]


@dataclass
class Following:
    """The outputs of some layers for one image and for the same with one half changed: a pass for
    each of these.

    Args:
        double: a private double of the model.
        call: calls it with an image.
        image: [1,c,H,W].
        layers: those that are asked about.
        tokens_of: numbers of tokens that `still` may be asked about.
    """

    double: nn.Module
    call: Callable[[Tensor], object]
    image: Tensor
    layers: Sequence[LayerName]
    tokens_of: Collection[int]
    _known: dict[str, Tensor] = field(default_factory=dict)
    _passes: dict[Half, _Pass] = field(default_factory=dict)
    _still: dict[int, list[int]] = field(default_factory=dict)

    def know(self, layer: LayerName, output: Tensor) -> None:
        """What the layer puts out for the image itself, where a pass has told it."""
        self._known[str(layer)] = output.detach()

    def output(self, layer: LayerName, half: Half) -> Tensor:
        """What a layer puts out for the image with a half changed."""
        known = self._known.get(str(layer)) if half is None else None
        return self._pass(half).leaves[str(layer)].output() if known is None else known

    def answer(self, layer: LayerName, grid: Grid) -> Answer:
        """How a layer's output, read by `grid`, follows the image."""
        axis = self._axis(grid, self.output(layer, None))
        if axis is None:
            return Answer(0.0, 0.0)
        found = self._told(layer, grid, axis)
        if grid.size is not None and 1 in grid.size and self.image.shape[3 - axis] > 1:
            # rows of tokens answer to both axes, a line to one
            across = self._told(layer, grid, axis, 1 - axis)
            return found if across.moved < found.moved / 2 else Answer(found.moved, 0.0)
        return found

    def both(self, layer: LayerName, grid: Grid) -> list[Answer]:
        """How a layer's output follows the image along each axis that has several places."""
        try:
            maps = grid.to_maps(self.output(layer, None))
        except RuntimeError:  # read as another number of places
            return []
        axes = [
            axis for axis in (0, 1) if maps.shape[2 + axis] > 1 and self.image.shape[2 + axis] > 1
        ]
        return [self._told(layer, grid, axis) for axis in axes]

    def ends(self, layer: LayerName, grid: Grid) -> bool:
        """Whether the outer quarters of the maps answer to those of the image, and not the inner
        ones.

        Halves that are exchanged answer as mirrored ones do, and are told apart here.
        """
        clean = grid.to_maps(self.output(layer, None))
        for axis in (0, 1):
            n = clean.shape[2 + axis]
            if n < 4 or self.image.shape[2 + axis] < 4:
                continue
            for side in FIRST, LAST:
                moved = (grid.to_maps(self.output(layer, (axis, side))) - clean).abs().sum((0, 1))
                along = moved.sum(1 - axis).flip(0) if side == LAST else moved.sum(1 - axis)
                if along[: n // 4].mean() < along[n // 4 : n // 2].mean():
                    return False
        return True

    def _told(self, layer: LayerName, grid: Grid, axis: int, changed: int | None = None) -> Answer:
        across = axis if changed is None else changed
        halves = (None, (across, 0), (across, 1))
        return _answer([self.output(layer, half) for half in halves], grid, axis)

    def nearest(
        self,
        layer: LayerName,
        shape: Sequence[int],
        grids: Sequence[Grid],
        tells: Callable[[Sequence[Answer]], bool],
    ) -> list[Answer]:
        """How the nearest run follows the image of which `tells`, among those that put out this
        shape.

        An answer for each of `grids`; none where no such run tells.
        """

        def order(names: list[str]) -> list[int]:
            own = [i for i, name in enumerate(names) if name == layer.module]
            middle = own[-1 if layer.run is None else layer.run] if own else 0
            return sorted(range(len(names)), key=lambda i: abs(i - middle))

        return self._told_by(
            lambda output: output if output.shape == shape else None, grids, tells, order
        )

    def tokens(self, n: int, grid: Grid) -> Answer | None:
        """How the last module follows the image of which that can be told, of those that put out n
        tokens [1,n,c]."""

        def taken(output: Tensor) -> Tensor | None:
            rows = output.transpose(0, 1) if output.dim() == 3 and output.shape[0] != 1 else output
            return rows if rows.shape[:2] == (1, n) and rows.dim() == 3 else None

        found = self._told_by(
            taken,
            [grid],
            lambda a: a[0].follows or a[0].contradicts,
            lambda names: list(range(len(names)))[::-1],
        )
        return found[0] if found else None

    def still(self, n: int) -> list[int]:
        """Places of the tokens, of n, that are no patches: the image does not move them before an
        attention.

        Looked for in what modules take and put out, [1,n,c]; none where no module does before an
        attention.
        """
        if n not in self._still:
            if n not in self.tokens_of:  # a number that no output has
                self.tokens_of = {*self.tokens_of, n}
                self._passes.clear()
            self._still[n] = self._found_still(n)
        return self._still[n]

    def _found_still(self, n: int) -> list[int]:
        clean, *changed = (self._pass(half).met[n] for half in (None, *_HALVES))
        for i, before in enumerate(clean):
            behind = [met[i] for met in changed if len(met) > i and met[i].shape == before.shape]
            moves = (
                sum(
                    ((after != before).any(1) for after in behind),
                    torch.zeros(n, device=before.device),
                )
                > 0
            )
            if len(behind) == len(changed) and bool(moves.any()) and not bool(moves.all()):
                return [int(place) for place in (~moves).nonzero()[:, 0]]
        return []

    def _pass(self, half: Half) -> _Pass:
        """The pass on the image with a half changed, which is made once."""
        if half in self._passes:
            return self._passes[half]
        met: dict[int, list[Tensor]] = {n: [] for n in self.tokens_of}

        def meet(value: object) -> None:
            tensor = first_tensor(value)
            if tensor is not None and tensor.dim() == 3 and tensor.shape[0] == 1:
                found = met.get(tensor.shape[1])
                if found is not None and len(found) < EVENTS:
                    found.append(tensor[0].clone())

        tokens = Recorder(
            self.double, lambda ran: meet(ran.output), lambda module, args: meet(args)
        )
        with (
            leaves_at(self.layers, self.double, records=False) as leaves,
            tokens if met else nullcontext(),
        ):
            self._run(half)
        self._passes[half] = _Pass({str(leaf.layer): leaf for leaf in leaves}, met)
        return self._passes[half]

    def _told_by(
        self,
        taken: Callable[[Tensor], Tensor | None],
        grids: Sequence[Grid],
        tells: Callable[[Sequence[Answer]], bool],
        order: Callable[[list[str]], list[int]],
    ) -> list[Answer]:
        """The answers of the first run that tells, of those whose outputs are `taken`."""
        clean = self._outputs_of(taken, None)
        if not clean:
            return []
        # a line is believed of the layer itself alone
        flat = 1 in self.image.shape[2:]
        lines = [grid.size is not None and 1 in grid.size and not flat for grid in grids]
        pairs = zip(grids, lines, strict=True)
        axes = [None if line else self._axis(grid, clean[0][1]) for grid, line in pairs]
        seen: dict[tuple[int, int], list[tuple[str, Tensor]]] = {}
        for axis in axes:
            for side in (0, 1):
                if axis is not None and (axis, side) not in seen:
                    seen[axis, side] = self._outputs_of(taken, (axis, side))
        if any([name for name, _ in runs] != [name for name, _ in clean] for runs in seen.values()):
            return []
        for i in order([name for name, _ in clean]):
            answers = [
                Answer(0.0, 0.0)
                if axis is None
                else _answer([clean[i][1], seen[axis, 0][i][1], seen[axis, 1][i][1]], grid, axis)
                for grid, axis in zip(grids, axes, strict=True)
            ]
            if tells(answers):
                return answers
        return []

    def _axis(self, grid: Grid, output: Tensor) -> int | None:
        """The image's axis whose halves are told apart: 1 across, 0 down, None where the maps are a
        single place."""
        h, w = grid.to_maps(output).shape[2:]
        if w > 1 and self.image.shape[3] > 1:
            return 1
        return 0 if h > 1 and self.image.shape[2] > 1 else None

    def _outputs_of(
        self, taken: Callable[[Tensor], Tensor | None], half: Half
    ) -> list[tuple[str, Tensor]]:
        """What the modules put out that is `taken`, with their names, in the order in which they
        end."""
        found: list[tuple[str, Tensor]] = []

        def ended(ran: Ran) -> None:
            tensor = first_tensor(ran.output)
            rows = None if tensor is None else taken(tensor)
            if rows is not None:
                found.append((ran.name, rows.clone()))

        with Recorder(self.double, ended):
            self._run(half)
        return found

    def _run(self, half: Half) -> None:
        with torch.no_grad():
            self.call(self.image.clone() if half is None else changed(self.image, *half))


def changed(image: Tensor, axis: int, side: int) -> Tensor:
    """The image [1,c,H,W] with noise, coarse and fine, over a half or an outer quarter, across
    (axis 1) or down (0)."""
    generator = torch.Generator().manual_seed(0)
    height, width = image.shape[2:]
    coarse = (1, image.shape[1], max(1, height // COARSE), max(1, width // COARSE))
    noise = interpolate(torch.randn(coarse, generator=generator), size=(height, width))
    noise = (noise + torch.randn(image.shape, generator=generator)).to(image)
    strength = image.std() if image.numel() > 1 else image.new_zeros(())
    noise = noise * torch.where(strength > 0, 1.5 * strength, torch.ones_like(strength))
    length = image.shape[2 + axis]
    part = length // (2 if side in (0, 1) else 4)
    start = 0 if side in (0, FIRST) else length - part
    new = image.clone()
    new.narrow(2 + axis, start, part).add_(noise.narrow(2 + axis, start, part))
    return new


def _answer(outputs: Sequence[Tensor], grid: Grid, axis: int) -> Answer:
    clean, first, second = (grid.to_maps(output.detach().float()) for output in outputs)
    before, behind = ((maps - clean).abs().sum((0, 1)) for maps in (first, second))
    least = max(ROUNDING, 8 * torch.finfo(outputs[0].dtype).eps) * clean.abs().sum()
    if not (bool(before.sum() > least) and bool(behind.sum() > least)):
        return Answer(0.0, 0.0)
    difference = behind / behind.sum() - before / before.sum()
    n = difference.shape[axis]
    sign = torch.sign(torch.arange(n, device=difference.device) - (n - 1) / 2)
    own = (difference.sum(1 - axis) * sign).sum()
    return Answer(float(difference.abs().sum()) / 2, float(own) / 2)
