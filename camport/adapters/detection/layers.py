"""Where a detector is explained: at what its head takes in, the levels of its pyramid."""

from collections.abc import Sequence

from torch import Tensor, nn

from camport.adapters.detection.pyramid import RESHAPING, levels
from camport.core.maps.token_grid import MAX_PREFIX, Grid, patch_size
from camport.core.running.dataflow import Dataflow
from camport.core.running.layers import LayerName, choose
from camport.core.running.runs import Run, Runs

FEWEST = 2


def head_inputs(runs: Sequence[Run], queries: int = 0) -> list[LayerName]:
    """The modules that put out the maps which the detector's head takes in;
    the usual choice where there are none.

    They are found from what is connected. The maps' own modules are explained and not the head's
    convolutions, at which a candidate's logit is a single number of a single place. A detector that
    asks with `queries` is explained at the maps that the last module takes which takes maps of
    different sizes, or that are joined to one row of tokens; a transformer whose queries run beside
    the image's tokens where the last attention reads them, as other token models are; one that asks
    with queries of their own in a decoder, at the maps before it.
    """
    dataflow = runs.dataflow if isinstance(runs, Runs) else None
    nodes = levels(runs, dataflow) if dataflow is not None else []
    if nodes and (not queries or _a_candidate_each(runs, nodes, queries)):
        return [_name(runs, r) for r in nodes]
    heads = [i for i, run in enumerate(runs) if len({shape for _, shape in run.inputs}) >= FEWEST]
    for i in reversed(heads):
        found = []
        for identity, _ in runs[i].inputs:
            makers = [
                r
                for r, run in enumerate(runs[: runs[i].start])
                if run.output == identity and run.plain
            ]
            if makers:
                found.append(makers[-1])
        if len(found) >= FEWEST:
            return [_name(runs, r) for r in dict.fromkeys(found)]
    joined = _joined(runs, dataflow) if dataflow is not None else []
    if joined:
        return [_name(runs, r) for r in joined]
    return [choose(runs, end=None if _beside_tokens(runs, queries) else _before_queries(runs))]


def _a_candidate_each(runs: Sequence[Run], nodes: Sequence[int], queries: int) -> bool:
    """Whether the candidates are the cells of these maps, however they are named,
    and nothing asks for them."""
    cells = sum(int(runs[i].shape[2]) * int(runs[i].shape[3]) for i in nodes)
    return len(nodes) >= FEWEST and queries == cells


def _joined(runs: Sequence[Run], dataflow: Dataflow) -> list[int]:
    """The maps of different sizes that a function joins to one row of tokens,
    as deformable attentions take them."""
    maker = {
        run.output: i
        for i, run in enumerate(runs)
        if run.plain and run.fits and len(run.shape) == 4
    }
    for value in reversed(dataflow.values):
        if value.op not in ("cat", "concat", "concatenate") or len(value.shape) != 3:
            continue
        ends = [_unreshaped(dataflow, number) for number in value.sources]
        found = [maker[end] for end in ends if end in maker]
        if len({runs[i].shape[2:] for i in found}) == len(ends) >= FEWEST:
            return found
    return []


def _unreshaped(dataflow: Dataflow, number: int) -> int:
    """The value of which another is but a reshaping."""
    while dataflow.values[number].op in RESHAPING and dataflow.values[number].sources:
        number = dataflow.values[number].sources[0]
    return number


def trailing_queries(
    activation: Tensor, size: tuple[int, int], model: nn.Module, queries: int
) -> Grid | None:
    """The grid of tokens [b, prefix + h*w + queries, c] over an image of `size`;
    None where they are no such row."""
    patch = patch_size(model) if queries and activation.dim() == 3 else None
    if patch is None:
        return None
    h, w = size[0] // patch[0], size[1] // patch[1]
    prefix = activation.shape[1] - queries - h * w
    return Grid("tokens", prefix, (h, w), queries) if 0 <= prefix <= MAX_PREFIX else None


def _beside_tokens(runs: Sequence[Run], queries: int) -> bool:
    """Whether the last attention puts out more tokens than the detector asks with."""
    attention = [run for run in runs if "attention" in run.kind.lower() and len(run.shape) == 3]
    return bool(queries and attention and attention[-1].shape[1] > queries)


def _before_queries(runs: Sequence[Run]) -> int | None:
    """Up to the last maps over the image: behind them a transformer's queries lie nowhere on it."""
    maps = [
        i
        for i, run in enumerate(runs)
        if len(run.shape) == 4 and run.plain and run.features and "ttention" not in run.kind
    ]
    # what takes no maps tells of places and not of the image
    maps = [i for i in maps if runs[i].inputs] or maps
    return maps[-1] + 1 if maps else None


def _name(runs: Sequence[Run], index: int) -> LayerName:
    run = runs[index]
    total = sum(other.name == run.name for other in runs)
    return LayerName(run.name, run.call if total > 1 else None)
