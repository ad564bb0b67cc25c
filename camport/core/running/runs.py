"""What runs in a forward pass: every run of every module, in the order in which runs end."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from camport.core.running.dataflow import Dataflow
from camport.core.running.recorder import Ran, Recorder, first_tensor, replace_first_tensor

_NO_FEATURES = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.dropout._DropoutNd,
    nn.Identity,
    nn.Flatten,
)


@dataclass
class Run:
    """One run of one module in a forward pass, in the order in which runs end.

    The last five are what `camport.core.running.dependence` finds out of one image. A list of runs
    that was recorded without it has the defaults, with which every run qualifies.

    Attributes:
        name: dotted name of the module.
        kind: its class.
        call: index among the runs of this module.
        start: how many runs had ended when this one began.
        output: identity of the first output tensor; equal for a container and its last child, and
            in-place ReLUs.
        shape: shape of that tensor; symbols while a graph is traced.
        plain: the module puts out this tensor and nothing else; of a structure, the model may read
            another part.
        features: False for what only moves features about: pooling, dropout, identity, flatten,
            permute.
        preferred: the model itself names this module as its `target_layer`.
        inputs: identity and (height, width) of each map among the module's arguments, those in
            lists too.
        results: identities of all tensors that the module puts out.
        attended: a self-attention among tokens was computed in it, and in no module inside of it.
        handed: the tensor was among the module's arguments: it was handed on, or written into.
        moves: the tensor changes when the image changes and nothing else does: False in a text
            tower, for a position embedding, and for a stored picture.
        leads: a path leads from the tensor to the explained score.
        whole: every path from the image to the score leads through the tensor: False for a branch
            of a sum.
        lies: False for the tokens of a text, or a detector's queries, that an attention lets look
            at the image, and for what is read in no order of places.
        dense: behind the deepest features of a network whose output is a map: what makes that
            output of them.
    """

    name: str
    kind: str
    call: int
    start: int
    output: int
    shape: tuple[Any, ...]
    features: bool
    plain: bool
    preferred: bool = False
    inputs: tuple[tuple[int, tuple[Any, ...]], ...] = ()
    results: tuple[int, ...] = ()
    attended: bool = False
    handed: bool = False
    moves: bool = True
    leads: bool = True
    whole: bool = True
    lies: bool = True
    dense: bool = False

    @property
    def fits(self) -> bool:
        """Whether the score can be explained there: it is made of the image, lies on it, and leads
        to the score."""
        return self.moves and self.lies and self.leads


def attends(run: Run, *, packed: bool = False) -> bool:
    """Whether it is an attention among tokens [b,n,c], by what it computes or is called; or
    `packed` ones [n,c]."""
    if run.attended:
        return True
    kind, own = run.kind.lower(), run.name.rpartition(".")[2].lower()
    tokens = len(run.shape) == 3 or (packed and len(run.shape) == 2 and run.shape[0] > 1)
    return tokens and ("attention" in kind or "attn" in kind or own in ("attn", "self_attn"))


Watch = Callable[[Run, Tensor], Tensor | None]
"""Told of each run and its tensor as it ends; what it returns takes the tensor's place."""


class Runs(list[Run]):
    """The runs of one forward pass.

    Attributes:
        dataflow: of what each tensor of the pass is made; `Run.output` and `Run.inputs` are numbers
            in it.
    """

    def __init__(self, dataflow: Dataflow | None = None) -> None:
        super().__init__()
        self.dataflow = dataflow


@contextmanager
def recorded(
    double: nn.Module, dataflow: Dataflow | None = None, watch: Watch | None = None
) -> Iterator[Runs]:
    """While open, every run of a module inside the double (not the double itself) is appended to
    the list."""
    seen = _Seen(double, dataflow, watch)
    with Recorder(double, seen.ended, seen.begun):
        yield seen.runs


@dataclass
class _Begun:
    """What is taken down before a module runs, since some write into the list they are given.

    Attributes:
        start: how many runs had ended.
        attentions: how many had been computed.
        given: identities of the tensors among the arguments.
        maps: as `Run.inputs`.
    """

    start: int
    attentions: int
    given: set[int]
    maps: tuple[tuple[int, tuple[int, ...]], ...]


class _Seen:
    """Makes runs of what a recorder sees."""

    def __init__(self, double: nn.Module, dataflow: Dataflow | None, watch: Watch | None) -> None:
        self.runs, self.dataflow, self.watch = Runs(dataflow), dataflow, watch
        self.identity: Callable[[Tensor], int] = id if dataflow is None else dataflow.number
        self.preferred = getattr(double, "target_layer", None)
        self.kept: list[Any] = []  # keeps identities unique while recording

    def begun(self, module: nn.Module, args: Any) -> _Begun:
        """Before a module runs."""
        given, identity = _tensors(args), self.identity
        self._keep(*given)
        maps = tuple((identity(v), tuple(v.shape[2:])) for v in given if v.dim() == 4)
        return _Begun(len(self.runs), self._attentions(), {identity(v) for v in given}, maps)

    def ended(self, ran: Ran) -> Any:
        """Appends a run; what `watch` puts in its tensor's place goes on."""
        begun, tensor, module = ran.begun, first_tensor(ran.output), ran.module
        kind = type(module).__name__
        if self.dataflow is not None:
            self.dataflow.note_module(kind, tree_leaves(ran.args), tree_leaves(ran.output))
        if tensor is None:
            return None
        within = self.runs[begun.start :]
        attends = self._attentions() > begun.attentions and tensor.dim() == 3
        run = Run(
            name=ran.name,
            kind=kind,
            call=ran.index,
            start=begun.start,
            output=self.identity(tensor),
            shape=tuple(tensor.shape),
            # the nodes of an .onnx file are of no class known here, so they tell themselves
            features=not (
                isinstance(module, _NO_FEATURES)
                or kind == "Permute"
                or getattr(module, "moves_features", False)
            ),
            plain=tensor is ran.output,
            preferred=ran.name == self.preferred,
            inputs=begun.maps,
            results=tuple(map(self.identity, _tensors(ran.output))),
            attended=attends and not any(inner.attended for inner in within),
            handed=self.identity(tensor) in begun.given,
        )
        new = self.watch(run, tensor) if self.watch else None
        self.runs.append(run)
        if new is None:
            self._keep(tensor)
            return None
        self._keep(tensor, new)
        run.output = self.identity(new)
        return replace_first_tensor(ran.output, new)

    def _attentions(self) -> int:
        return 0 if self.dataflow is None else self.dataflow.attentions

    def _keep(self, *tensors: Tensor) -> None:
        self.kept.extend(tensors if self.dataflow is None else ())


def _tensors(values: Any) -> list[Tensor]:
    return [v for v in tree_leaves(values) if isinstance(v, Tensor)]


def record(double: nn.Module, call: Callable[[], Any], image: Tensor | None = None) -> Runs:
    """The runs of one forward pass, made by `call`, without recording gradients.

    Args:
        double: the private double that `call` runs.
        call: runs it and returns the outputs.
        image: the images [b,c,H,W] that it is run on, from where the dataflow begins; None: none is
            recorded.
    """
    with torch.no_grad():
        if image is not None:
            return followed(double, call, image)[0]
        with recorded(double) as runs:
            call()
        return runs


def followed(
    double: nn.Module, call: Callable[[], Any], image: Tensor, watch: Watch | None = None
) -> tuple[Runs, Any]:
    """The runs of one forward pass on `image` with their dataflow, and what the model said."""
    dataflow = Dataflow()
    with recorded(double, dataflow, watch) as runs, dataflow:
        dataflow.image = dataflow.number(image)
        outputs = call()
        dataflow.said(outputs)
    return runs, outputs
