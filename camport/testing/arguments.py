"""Rules on what is handed in: arguments of every wrong kind, and weights that are no numbers."""

import copy
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from camport.core.bind import bind
from camport.core.explainer import Explainer
from camport.errors import CamportError
from camport.testing.case import Case, quiet

WRONG: tuple[Any, ...] = (
    object(),
    object,
    "no such thing",
    b"x",
    1.5,
    {"no such": 1},
    [None],
    3 + 4j,
)
"""What none of an explainer's arguments takes."""


def argument_kinds(case: Case) -> None:
    """Images, target, layer, chunk and options of a wrong kind are refused with a CamportError."""
    images, model, layer = case.images, case.network.model, case.network.layer
    tries: list[tuple[str, Any, Callable[[], Any]]] = []

    def bound(explainer: Explainer = case.explainer, layer: Any = layer, **options: Any) -> Any:
        return bind(model, explainer, layer, case.adapter, **options)

    for value in (
        *WRONG,
        None,
        3,
        images[0],
        images.to(torch.int64),
        images.to_sparse(),
        images.to("meta"),
    ):
        tries.append(("images", value, partial(_call, bound, value, case.target)))
    for value in WRONG:
        tries.append(("chunk", value, partial(bound, chunk=value)))
        if value != "no such thing" or case.explainer.needs_layer:
            tries.append(("layer", value, partial(bound, layer=value)))
    for value in (object(), object, b"x", 3 + 4j, torch.zeros(2, 2, 2, 2, 2)):
        tries.append(("target", value, partial(_call, bound, images, value)))
    for name, value, attempt in tries:
        _refused(case, name, value, attempt)


def option_kinds(case: Case) -> None:
    """An option of a wrong kind is a CamportError,
    when the instance is made or when it explains."""
    instance: Any = case.explainer
    for field in dataclasses.fields(instance) if dataclasses.is_dataclass(instance) else ():
        for value in (object(), b"x", float("nan")):
            _refused(
                case,
                f"the option {field.name}",
                value,
                partial(_with_option, case, field.name, value),
            )


def nan_weights(case: Case) -> None:
    """A model with a weight that is NaN or infinite is refused, and no map is made of it."""
    for value in (float("nan"), float("inf")):
        model = copy.deepcopy(case.network.model)
        weights = [p for p in model.parameters() if p.is_floating_point() and p.dim() > 1]
        with torch.no_grad():
            weights[-1].fill_(value)
        _refused(case, "a weight", value, partial(case.explain, model=model), finite=True)


def _call(bound: Callable[[], Any], images: Any, target: Any) -> Any:
    return bound()(images, target)


def _with_option(case: Case, name: str, value: Any) -> Any:
    known: Any = case.explainer
    made = dataclasses.replace(known, **{name: value})
    return bind(case.network.model, made, case.network.layer, case.adapter)(
        case.images, case.target
    )


def _refused(
    case: Case, what: str, value: Any, attempt: Callable[[], Any], finite: bool = False
) -> None:
    shown = (
        f"a tensor {tuple(value.shape)} {value.dtype}"
        if isinstance(value, Tensor)
        else repr(value)[:60]
    )
    try:
        with quiet():
            found = attempt()
    except CamportError:
        return
    except Exception as error:
        case.judge.fail(
            f"{what} = {shown} raises {type(error).__name__}: {error}; "
            "refuse it with camport.errors.InputError or MethodError"
        )
    if finite and bool(found.raw.isfinite().all()) and bool(found.score.isfinite().all()):
        return  # neither score nor map depends on that weight
    case.judge.fail(f"{what} = {shown} is taken, and gives {type(found).__name__}; refuse it")
