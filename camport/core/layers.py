"""Target layers: their names, what runs in a forward pass, and the automatic choice."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from camport.core.dataflow import Dataflow
from camport.core.replica import hook, pre_hook
from camport.errors import LayerError, nearest

_NO_FEATURES = (
    nn.modules.pooling._MaxPoolNd,
    nn.modules.pooling._AvgPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd,
    nn.modules.pooling._AdaptiveMaxPoolNd,
    nn.modules.dropout._DropoutNd,
    nn.Identity,
    nn.Flatten,
)


@dataclass(frozen=True)
class LayerName:
    """A target layer: a module's dotted name and which of its runs in one forward pass.

    Attributes:
        module: name as in `model.named_modules()`.
        run: index of the run, negative from the last; None where the user did not choose.
    """

    module: str
    run: int | None = None

    def __str__(self) -> str:
        return self.module if self.run is None else f"{self.module}@{self.run}"


Layers = str | nn.Module | Sequence[str | nn.Module]
"""Target layers as a user names them: a dotted name, a module of the model, or a list of these."""

_WRAPPERS = ("_orig_mod.", "module.")
"""What `named_modules` of a compiled or data-parallel model puts before every name."""


def parse_layers(model: nn.Module, layers: Any) -> list[LayerName]:
    """Target layers as the user gave them: "layer4", "layer4.2.relu@1", `model.layer4[-1]`, or a list.

    Args:
        model: the model that is explained.
        layers: as `Layers`; other kinds are refused.

    Raises:
        LayerError: no such layer; the nearest names are offered.
    """
    given = [layers] if isinstance(layers, str | nn.Module) else layers
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise LayerError(f"layer is {_shown(layers)}; {_KINDS}")
    if not given:
        raise LayerError("the list of target layers is empty; name at least one, or give layer=None to choose it")
    # identities of modules are compared, since a module may define == as it likes
    modules = {name: id(module) for name, module in model.named_modules()}
    return [_parsed(model, layer, modules) for layer in given]


def _parsed(model: nn.Module, layer: Any, modules: Mapping[str, int]) -> LayerName:
    if isinstance(layer, nn.Module):
        return LayerName(_name_in(model, layer, modules))
    if not isinstance(layer, str):
        raise LayerError(f"layer is {_shown(layer)}; {_KINDS}")
    # a model whose layers have other names elsewhere says so: an .onnx file's nodes and tensors
    aliases: dict[str, str] = getattr(model, "layer_aliases", {})
    module, at, run = layer.partition("@")
    if module not in modules:
        bare = next((module.removeprefix(w) for w in _WRAPPERS if module.startswith(w)), module)
        module = aliases.get(module, bare)
    if at and not run.removeprefix("-").isdecimal():
        raise LayerError(f"layer {layer!r}: what follows '@' is the number of a run, e.g. {module}@0")
    if module not in modules:
        near = nearest(module, [*modules, *aliases]) or list(modules)[-3:]
        raise LayerError(f"no layer {module[:200]!r} in {type(model).__name__}; nearest: {', '.join(near)}")
    if not module:
        raise LayerError(f"layer '' is {type(model).__name__} itself; {_KINDS}")
    return LayerName(module, int(run) if at else None)


_KINDS = "give a dotted name as in model.named_modules(), a module of the model, or a list of these"


def _name_in(model: nn.Module, layer: nn.Module, modules: Mapping[str, int]) -> str:
    """The first dotted name of a module of the model."""
    layer = getattr(layer, "_orig_mod", layer)  # a compiled part, as its user holds it
    if layer is model:
        raise LayerError(f"layer is the model itself, {type(model).__name__}; {_KINDS}")
    for name, identity in modules.items():
        if identity == id(layer):
            return name
    raise LayerError(
        f"layer is a {type(layer).__name__} that is no module of this {type(model).__name__}; "
        "give one of the model that is explained, not of a copy of it"
    )


def _shown(value: Any) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


def first_tensor(output: Any) -> Tensor | None:
    """The first floating-point tensor in a module's output (tensor, tuple, dict, ModelOutput)."""
    leaves = tree_flatten(output)[0]
    return next((v for v in leaves if isinstance(v, Tensor) and v.is_floating_point()), None)


def replace_first_tensor(output: Any, new: Tensor) -> Any:
    """`output` with its first floating-point tensor replaced."""
    if isinstance(output, Tensor):
        return new
    leaves, spec = tree_flatten(output)
    index = next(i for i, v in enumerate(leaves) if isinstance(v, Tensor) and v.is_floating_point())
    return tree_unflatten([*leaves[:index], new, *leaves[index + 1 :]], spec)


@dataclass
class Run:
    """One run of one module in a forward pass, in the order in which runs end.

    Attributes:
        name: dotted name of the module.
        kind: its class.
        call: index among the runs of this module.
        start: how many runs had ended when this one began.
        output: identity of the first output tensor; equal for a container and its last child, and in-place ReLUs.
        shape: shape of that tensor; symbols while a graph is traced.
        plain: the module puts out this tensor and nothing else; of a structure, the model may read another part.
        features: False for what only moves features about: pooling, dropout, identity, flatten, permute.
        preferred: the model itself names this module as its `target_layer`.
        inputs: identity and (height, width) of each map among the module's arguments, those in lists too.
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


class Runs(list[Run]):
    """The runs of one forward pass.

    Attributes:
        dataflow: of what each tensor of the pass is made; `Run.output` and `Run.inputs` are numbers in it.
    """

    def __init__(self, dataflow: Dataflow | None = None) -> None:
        super().__init__()
        self.dataflow = dataflow


@contextmanager
def recorded(double: nn.Module, dataflow: Dataflow | None = None) -> Iterator[Runs]:
    """While open, every run of a module inside the double (not the double itself) is appended to the list."""
    runs = Runs(dataflow)
    identity: Callable[[Tensor], int] = id if dataflow is None else dataflow.number
    starts: list[tuple[int, tuple[tuple[int, tuple[int, ...]], ...]]] = []
    kept: list[Tensor] = []  # keeps identities unique while recording
    calls: dict[str, int] = {}
    target_layer = getattr(double, "target_layer", None)
    handles = []

    def before(module: nn.Module, args: Any) -> None:
        # taken down before the module runs, since some write into the list they are given
        maps = [v for v in tree_flatten(args)[0] if isinstance(v, Tensor) and v.dim() == 4]
        kept.extend(maps if dataflow is None else ())
        starts.append((len(runs), tuple((identity(v), tuple(v.shape[2:])) for v in maps)))

    def after(name: str) -> Callable[[nn.Module, Any, Any], None]:
        def ended(module: nn.Module, args: Any, output: Any) -> None:
            (start, inputs), tensor = starts.pop(), first_tensor(output)
            call = calls.get(name, 0)
            calls[name] = call + 1
            if dataflow is not None:
                dataflow.note_module(type(module).__name__, tree_flatten(args)[0], tree_flatten(output)[0])
            if tensor is not None:
                kept.extend([tensor] if dataflow is None else ())
                features = not isinstance(module, _NO_FEATURES) and type(module).__name__ != "Permute"
                # the nodes of an .onnx file are of no class known here, so they tell themselves
                features = features and not getattr(module, "moves_features", False)
                shape, kind = tuple(tensor.shape), type(module).__name__
                plain = tensor is output
                preferred = name == target_layer
                runs.append(Run(name, kind, call, start, identity(tensor), shape, features, plain, preferred, inputs))

        return ended

    try:
        for name, module in double.named_modules():
            if name:
                handles.append(pre_hook(module, before))
                handles.append(hook(module, after(name)))
        yield runs
    finally:
        for handle in handles:
            handle.remove()


def record(double: nn.Module, call: Callable[[], Any], image: Tensor | None = None) -> Runs:
    """The runs of one forward pass, made by `call`, without recording gradients.

    Args:
        double: the private double that `call` runs.
        call: runs it and returns the outputs.
        image: the images [b,c,H,W] that it is run on, from where the dataflow begins; None: none is recorded.
    """
    if image is None:
        with torch.no_grad(), recorded(double) as runs:
            call()
        return runs
    dataflow = Dataflow()
    with torch.no_grad(), recorded(double, dataflow) as runs, dataflow:
        dataflow.image = dataflow.number(image)
        dataflow.said(call())
    return runs


def choose(runs: Sequence[Run]) -> LayerName:
    """The layer a person would take: the last feature maps before pooling, or for token models the normalisation
    before the last attention, since behind it the patch tokens of a class-token head have no gradient.

    Raises LayerError where no module puts out maps over the image.
    """
    for i, run in enumerate(runs):
        if run.preferred:
            return _named(runs, i)
    producer: dict[int, Run] = {}
    for run in runs:
        producer.setdefault(run.output, run)
    attention = [i for i, run in enumerate(runs) if _attends(run)]
    inside = {i for k in attention for i in range(runs[k].start, k)}  # attention's own matrices are no maps
    features = [i for i, run in enumerate(runs) if run.plain and run.features and producer[run.output].features]
    maps = [i for i in features if _spatial(runs[i]) and i not in inside]
    maps = maps or [i for i in features if _line(runs[i]) and i not in inside]
    tokens = [i for i, run in enumerate(runs) if run.plain and len(run.shape) == 3 and run.shape[1] > 1]
    last = maps[-1] if maps else -1
    for k in reversed(attention):
        before = runs[k].start - 1
        # the innermost: a block that holds an attention is none itself
        if k > last and before in tokens and not any(j in range(runs[k].start, k) for j in attention):
            return _named(runs, before)
    behind = [i for i in tokens if i > last and i in features and _cover(runs[i], runs[last])] if maps else tokens
    if behind:
        return _named(runs, behind[-1])
    if maps:
        return _named(runs, last)
    raise LayerError(
        "no module of this model puts out maps over the image, so no target layer can be chosen; "
        "name one with layer=..., or use a method that needs none (saliency). No module runs by itself in a model that "
        "torch.jit or torch.export wrote: give the model it was made of"
    )


def _attends(run: Run) -> bool:
    """Whether it is an attention among tokens, by what people call such a module."""
    kind, own = run.kind.lower(), run.name.rpartition(".")[2].lower()
    return len(run.shape) == 3 and ("attention" in kind or "attn" in kind or own in ("attn", "self_attn"))


def _cover(tokens: Run, maps: Run) -> bool:
    """Whether there is a token for each cell of the maps: what a mixer makes of them."""
    _, p, q, r = maps.shape
    return bool(tokens.shape[1] in (p * q, q * r))


def _spatial(run: Run) -> bool:
    if len(run.shape) != 4:
        return False
    _, p, q, r = run.shape
    return (q > 1 and r > 1) or (p > 1 and q > 1)


def _line(run: Run) -> bool:
    """Whether it puts out maps one place high or wide: features in a model of images, all maps in one of signals."""
    return len(run.shape) == 4 and run.shape[2] * run.shape[3] > 1 and run.shape[1] * run.shape[2] > 1


def _named(runs: Sequence[Run], index: int) -> LayerName:
    run = runs[index]
    total = sum(other.name == run.name for other in runs)
    return LayerName(run.name, run.call if total > 1 else None)
