"""Where a detector is explained: at what its head takes in, the levels of its pyramid."""

from collections.abc import Sequence

from camport.core.layers import LayerName, Run, choose

FEWEST = 2


def head_inputs(runs: Sequence[Run]) -> list[LayerName]:
    """The modules that put out the maps which the detector's head takes in; the usual choice where there are none.

    The head is the last module that takes maps of different sizes: a pyramid. The maps' own modules are explained and
    not the head's convolutions, at which a candidate's logit is a single number of a single place.
    """
    heads = [i for i, run in enumerate(runs) if len({shape for _, shape in run.inputs}) >= FEWEST]
    for i in reversed(heads):
        found = []
        for identity, _ in runs[i].inputs:
            makers = [r for r, run in enumerate(runs[: runs[i].start]) if run.output == identity and run.plain]
            if makers:
                found.append(makers[-1])
        if len(found) >= FEWEST:
            return [_name(runs, r) for r in dict.fromkeys(found)]
    return [choose(_before_queries(runs))]


def _before_queries(runs: Sequence[Run]) -> Sequence[Run]:
    """Up to the last maps over the image: behind them a transformer's queries lie nowhere on it."""
    maps = [
        i
        for i, run in enumerate(runs)
        if len(run.shape) == 4 and run.plain and run.features and "ttention" not in run.kind
    ]
    return runs[: maps[-1] + 1] if maps else runs


def _name(runs: Sequence[Run], index: int) -> LayerName:
    run = runs[index]
    total = sum(other.name == run.name for other in runs)
    return LayerName(run.name, run.call if total > 1 else None)
