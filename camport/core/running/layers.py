"""Target layers: their names, what runs in a forward pass, and the automatic choice."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from camport.core.running.runs import Run, attends
from camport.core.running.scripted import check_visible
from camport.errors import LayerError, nearest


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
    """Target layers as the user gave them: "layer4", "layer4.2.relu@1", `model.layer4[-1]`,
    or a list.

    Args:
        model: the model that is explained.
        layers: as `Layers`; other kinds are refused.

    Raises:
        LayerError: no such layer; the nearest names are offered.
    """
    given = check_layer_kinds(layers)
    if not given:
        raise LayerError(
            "the list of target layers is empty; name at least one, or give layer=None to choose it"
        )
    # identities of modules are compared, since a module may define == as it likes
    modules = {name: id(module) for name, module in model.named_modules()}
    return [_parsed(model, layer, modules) for layer in given]


def check_layer_kinds(layers: Any) -> Sequence[Any]:
    """Target layers as a list; LayerError for what is neither name nor module nor a list of
    these."""
    given = [layers] if isinstance(layers, str | nn.Module) else layers
    if not isinstance(given, Sequence) or isinstance(given, bytes):
        raise LayerError(f"layer is {_shown(layers)}; {_KINDS}")
    for layer in given:
        if not isinstance(layer, str | nn.Module):
            raise LayerError(f"layer is {_shown(layer)}; {_KINDS}")
    return given


def _parsed(model: nn.Module, layer: Any, modules: Mapping[str, int]) -> LayerName:
    if isinstance(layer, nn.Module):
        name = _name_in(model, layer, modules)
        check_visible(model, name)
        return LayerName(name)
    # a model whose layers have other names elsewhere says so: an .onnx file's nodes and tensors
    aliases: dict[str, str] = getattr(model, "layer_aliases", {})
    module, at, run = layer.partition("@")
    if module not in modules:
        bare = next((module.removeprefix(w) for w in _WRAPPERS if module.startswith(w)), module)
        module = aliases.get(module, bare)
    if at and not run.removeprefix("-").isdecimal():
        raise LayerError(
            f"layer {layer!r}: what follows '@' is the number of a run, e.g. {module}@0"
        )
    if module not in modules:
        near = nearest(module, [*modules, *aliases]) or list(modules)[-3:]
        raise LayerError(
            f"no layer {module[:200]!r} in {type(model).__name__}; nearest: {', '.join(near)}"
        )
    if not module:
        raise LayerError(f"layer '' is {type(model).__name__} itself; {_KINDS}")
    check_visible(model, module)
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


def choose(runs: Sequence[Run], *, decoders: bool = False, end: int | None = None) -> LayerName:
    """The layer a person would take: the last feature maps before pooling, or for token models the
    normalisation before the last attention, since behind it the patch tokens of a class-token head
    have no gradient.

    Of the runs that fit (`Run.fits`); not a branch of a sum where maps of the same stage carry the
    whole image; and where the output is a map itself, the deepest features (`Run.dense`, as
    Seg-Grad-CAM 2002.11434, section 3), unless `decoders` lets those behind them count as well.
    Where no run that moves leads to the score, one that moves. Of the runs before `end` alone,
    where it is given.

    Raises LayerError where no module puts out such maps over the image.
    """
    first = runs[:end]
    for i, run in enumerate(first):
        if run.preferred:
            return _named(runs, i)
    shown = [decoders or not run.dense for run in first]
    for qualifies in (
        [run.fits and may for run, may in zip(first, shown, strict=True)],
        [run.moves and run.lies and may for run, may in zip(first, shown, strict=True)],
    ):
        found = _last(first, qualifies)
        if found is not None:
            return _named(runs, found)  # which of the layer's runs it is, all tell
    raise LayerError(_nothing(first))


def _last(runs: Sequence[Run], qualifies: Sequence[bool]) -> int | None:
    makers: dict[int, Run] = {}
    for run in runs:
        if not run.handed:
            makers.setdefault(run.output, run)
    attention = [i for i, run in enumerate(runs) if qualifies[i] and attends(run)]
    # attention's own matrices are no maps, nor are a text's keys and values
    inside = {i for k, run in enumerate(runs) if attends(run) for i in range(run.start, k)}
    features = [
        i
        for i, run in enumerate(runs)
        # what no module made was made by an operation, a sum of branches
        if qualifies[i] and run.plain and run.features and makers.get(run.output, run).features
    ]
    maps = [i for i in features if _spatial(runs[i]) and i not in inside]
    maps = maps or [i for i in features if _line(runs[i]) and i not in inside]
    last = maps[-1] if maps else -1
    tokens = {
        i
        for i, run in enumerate(runs)
        if qualifies[i] and run.plain and len(run.shape) == 3 and run.shape[1] > 1
    }
    # the innermost: a block that holds an attention is none itself
    innermost = [k for k in attention if not any(j in range(runs[k].start, k) for j in attention)]
    behind = [i for i in tokens if i > last and i not in inside]
    if innermost and innermost[-1] > last:
        first = runs[innermost[-1]].start
        before = first - 1
        if (
            first in tokens
            and _normalises(runs[first])
            and not (before in tokens and _normalises(runs[before]))
        ):
            # the attention normalises what it takes; before it stands a branch without its sum
            return first
        if before in tokens:
            return before
        if before > last and qualifies[before] and len(runs[before].shape) == 3:
            behind.append(before)  # of a structure: where nothing behind the attention will do
    elif maps:
        behind = [i for i in behind if _cover(runs[i], runs[last])]
    if maps:
        # of whole maps a branch is left out: an attention's numbers, one for each cell
        branches = runs[last].whole
        behind = [
            i
            for i in behind
            if (i in features or not runs[i].plain) and (runs[i].whole or not branches)
        ]
    if behind:
        return max(behind)
    if not maps:
        return None
    # maps before it are of another stage
    attended = max((k for k in attention if k < last), default=-1)
    # a sum of branches that no module made, as a dropout or an identity hands it on
    sums = [
        i
        for i, run in enumerate(runs)
        if qualifies[i]
        and run.plain
        and run.handed
        and run.output not in makers
        and _spatial(run)
        and i not in inside
    ]
    return _undivided(runs, [i for i in maps if i > attended], [i for i in sums if i > attended])


def _normalises(run: Run) -> bool:
    return "norm" in run.kind.lower()


def _undivided(runs: Sequence[Run], maps: Sequence[int], sums: Sequence[int]) -> int:
    """The last of the maps; where it is one branch of several,
    the last of its stage that carries the whole image."""
    last = maps[-1]
    whole = [i for i in sorted({*maps, *sums}) if runs[i].whole and _near(runs[i], runs[last])]
    return whole[-1] if whole and not runs[last].whole else last


def _near(a: Run, b: Run) -> bool:
    """Whether two maps are of one stage, or of neighbouring ones:
    their sides differ by a factor of two at most."""
    return any(
        all(0.5 <= p / q <= 2 for p, q in zip(a.shape[s], b.shape[s], strict=True))
        for s in (slice(2, 4), slice(1, 3))
    )


def _nothing(runs: Sequence[Run]) -> str:
    shaped = [run for run in runs if _spatial(run) or len(run.shape) == 3]
    looked = list(dict.fromkeys(run.name for run in shaped))
    seen = ""
    if looked:
        reasons = {
            "do not change with the image": [r for r in shaped if not r.moves],
            "are tokens of a text or of queries, or in no order of places": [
                r for r in shaped if r.moves and not r.lies
            ],
            "do not lead to the score": [r for r in shaped if r.moves and r.lies and not r.leads],
            "are the output itself": [r for r in shaped if r.fits and r.dense],
        }
        told = [f"{len(which)} {why}" for why, which in reasons.items() if which]
        shown = ", ".join(looked[-3:])
        seen = f" ({len(shaped)} runs with maps or tokens were looked at, the last of {shown}"
        seen += f": {', '.join(told)})" if told else ")"
    return (
        "no module of this model puts out maps over the image, so no target layer can be"
        f" chosen{seen}; name one with layer=..., or use a method that needs none (saliency). No"
        " module runs by itself in a model that torch.jit or torch.export wrote: give the model it"
        " was made of"
    )


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
    """Whether it puts out maps one place high or wide: features in a model of images,
    all maps in one of signals."""
    return (
        len(run.shape) == 4 and run.shape[2] * run.shape[3] > 1 and run.shape[1] * run.shape[2] > 1
    )


def named_run(runs: Sequence[Run], name: LayerName) -> Run | None:
    """The run that a layer's name says, the last where it says none;
    None where there is no such run."""
    own = [run for run in runs if run.name == name.module]
    number = -1 if name.run is None else name.run
    return own[number] if -len(own) <= number < len(own) else None


def _named(runs: Sequence[Run], index: int) -> LayerName:
    run = runs[index]
    total = sum(other.name == run.name for other in runs)
    return LayerName(run.name, run.call if total > 1 else None)
