"""One method at every layer of a network, layer by layer:
where in the depth a map becomes what it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor, nn

from camport.core.adapter import Adapter
from camport.core.bind import bind
from camport.core.bound import Bound
from camport.core.explainer import Explainer
from camport.core.explanation import Explanation
from camport.core.isolation.private_copy import double_of
from camport.core.isolation.writes import restarted
from camport.core.maps.loop import Tick
from camport.core.running.call_model import called, rows
from camport.core.running.checks import check_images
from camport.core.running.layers import LayerName
from camport.core.running.runs import Run, record
from camport.errors import LayerError, MethodError


def sweep(
    model: nn.Module,
    images: Tensor,
    method: str | Explainer = "gradcam",
    target: Any = None,
    layers: str | Sequence[str] | None = None,
    adapter: str | Adapter = "classification",
    *,
    progress: Tick | None = None,
    **options: Any,
) -> Iterator[tuple[str, Explanation]]:
    """Explains the images at one layer after the other, first to last;
    each with the cost of one explanation.

    Args:
        model: as for `camport.bind`, as are `method`, `adapter` and `options`.
        images: [b,c,H,W], as for `camport.explain`, as is `target`.
        layers: names; or patterns such as "layer?.*", in which * stands for any characters and ?
            for one; None is every layer whose output is a map over the image. Of modules that put
            out one and the same tensor the outermost is named, and pooling, dropout and the like
            are left out.
        progress: called with (layers done, layers in all).

    Yields:
        The layer's name and its explanation. Layers that were not named one by one and turn out to
        be no map, or to have no path to the score, are passed over.

    Raises:
        MethodError: a method that has no target layer, or as `camport.explain`.
        LayerError: no layer matches, or one that was named cannot be explained.
    """
    bound = bind(model, method, None, adapter, **options)
    if not bound.explainer.needs_layer:
        raise MethodError(
            f"{bound.explainer.name} has no target layer to sweep over; gradcam and its relatives"
            " have"
        )
    given = [layers] if isinstance(layers, str) else list(layers or ["*"])
    exact = {name for name in given if not _is_pattern(name)}
    names = list(given) if exact == set(given) else _matching(given, _layers(bound, images, target))
    for done, name in enumerate(names, 1):
        try:
            explanation = bind(model, method, name, adapter, **options)(images, target)
        except LayerError:
            if name in exact:
                raise
        else:
            yield name, explanation
        if progress:
            progress(done, len(names))


def map_layers(runs: Sequence[Run]) -> list[str]:
    """Every map over the image that a module puts out, once, by the outermost module,
    in the order they are made."""
    totals: dict[str, int] = {}
    for run in runs:
        totals[run.name] = totals.get(run.name, 0) + 1
    made: dict[int, Run] = {}
    outermost: dict[int, Run] = {}
    for run in runs:
        made.setdefault(run.output, run)
        if run.plain and made[run.output].features and run.features and _like_a_map(run.shape):
            outermost[run.output] = run
    return [
        str(LayerName(r.name, r.call if totals[r.name] > 1 else None)) for r in outermost.values()
    ]


def _layers(bound: Bound, images: Tensor, target: Any) -> list[str]:
    images = check_images(images, bound.model)
    given = rows(bound._prepared(target, images), 1)

    def runs() -> list[Run]:
        double = double_of(bound.model)
        return record(double, lambda: called(bound.adapter, double, images[:1].clone(), given))

    return map_layers(restarted(runs))


def _matching(given: Sequence[str], layers: Sequence[str]) -> list[str]:
    """The layers that a pattern fits, in their order,
    and those that were named without one behind them."""
    for pattern in given:
        if _is_pattern(pattern) and not any(fnmatchcase(layer, pattern) for layer in layers):
            shown = ", ".join(layers[:4]) + (", ..." if len(layers) > 4 else "")
            raise LayerError(
                f"no layer with maps over the image is like {pattern!r}; there is:"
                f" {shown or 'none'}"
            )
    fitting = [layer for layer in layers if any(fnmatchcase(layer, pattern) for pattern in given)]
    return [*fitting, *(name for name in given if not _is_pattern(name) and name not in fitting)]


def _is_pattern(name: str) -> bool:
    return any(sign in name for sign in "*?[")


def _like_a_map(shape: tuple[int, ...]) -> bool:
    """Maps in either layout, or tokens; what they really are is seen when they are explained."""
    if len(shape) == 3:
        return min(shape[1:]) > 1
    return len(shape) == 4 and sorted(shape[1:])[1] > 1
