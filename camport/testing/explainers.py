"""The conformance kit for explainers."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from camport.core.adapter import Adapter
from camport.core.explainer import Explainer
from camport.core.isolation.private_copy import double_of
from camport.core.registry import adapter as registered_adapter
from camport.core.running.layers import choose
from camport.core.running.runs import record
from camport.errors import CamportError
from camport.testing import arguments, exporting, maps, models, threads
from camport.testing.case import Case, quiet
from camport.testing.conformance import ConformanceError, Judge
from camport.testing.networks import Network, networks
from camport.testing.values import check_texts, check_values

FAMILIES = ("activation", "input-gradient", "perturbation", "attention")

RULES: tuple[Callable[[Case], None], ...] = (
    maps.raw_map,
    maps.true_traits,
    maps.heatmap,
    models.model_untouched,
    models.python_state,
    maps.out_of_place,
    maps.deterministic,
    maps.independent_of_batch,
    models.frozen_parameters,
    models.in_place_relu,
    maps.several_layers,
    arguments.argument_kinds,
    arguments.option_kinds,
    arguments.nan_weights,
    threads.among_threads,
    exporting.refused_export,
    exporting.pure_function,
)
"""Each checks one rule, which its docstring states;
in the order in which a broken one is reported."""


def check_explainer(
    cls: type[Explainer] | Explainer,
    *,
    model: nn.Module | None = None,
    images: Tensor | None = None,
    target: Any = None,
    layer: str | None = None,
    adapter: str | Adapter = "classification",
    export: bool = True,
) -> None:
    """Checks that an explainer keeps the rules; returns nothing where it does.

    The rules are `traits`, `options`, those in `RULES`, and `onnx_file`. The class is checked on
    the first of the kit's small networks that it does not refuse with MethodError. What the kit
    draws is seeded, and the random states are as before afterwards.

    Args:
        cls: the class, or an instance to check it with other options than its defaults.
        model: a network to check on instead, in evaluation mode; float64 gives the strictest
            comparison.
        images: [b,c,H,W] for it, three or more; random 64x64 ones where left out.
        target: for these images, as the adapter takes it; left out, one is drawn from the adapter.
        layer: its target layer; chosen where left out.
        adapter: what scores the network.
        export: also write an ONNX file and compare it with eager PyTorch; takes seconds.

    Raises:
        ConformanceError: naming the rule, what was found, and what to do.
        MissingDependencyError: `export` without onnx or onnxruntime.
    """
    given = cls if isinstance(cls, type) else type(cls)
    judge = Judge(getattr(given, "__name__", repr(given)))
    with judge.judging("traits"):
        _traits(judge, given)
    with judge.judging("options"):
        explainer = cls if isinstance(cls, Explainer) else judge.made(given, Explainer)  # type: ignore[type-abstract]
        check_values(judge, explainer)
    with judge.judging("fits a network"), torch.enable_grad():
        scores = adapter if isinstance(adapter, Adapter) else registered_adapter(adapter)()
        candidates = networks() if model is None else [_given(model, images, layer)]
        case = _case(judge, explainer, scores, candidates, target)
    for rule in (*RULES, *([exporting.onnx_file] if export else [])):
        # which also undoes what a plugin did to the mode
        with judge.judging(rule.__name__), torch.enable_grad():
            rule(case)
    with judge.judging("options"):
        check_values(judge, explainer)  # again: has it kept state on the instance?


def _traits(judge: Judge, cls: type) -> None:
    judge.demand(issubclass(cls, Explainer), "it is no subclass of camport.Explainer")
    missing = getattr(cls, "__abstractmethods__", ())
    judge.demand(
        not inspect.isabstract(cls),
        lambda: f"it is abstract: it does not implement {', '.join(sorted(missing))}",
    )
    check_texts(judge, cls, ("name", "title", "paper", "family"))
    family = getattr(cls, "family")  # noqa: B009 - declared on subclasses
    judge.demand(family in FAMILIES, f"family is {family!r}; it is one of {', '.join(FAMILIES)}")
    for trait in ("needs_gradients", "needs_layer", "exportable"):
        value = getattr(cls, trait, None)
        judge.demand(
            isinstance(value, bool), f"{trait} is {value!r}; declare True or False on the class"
        )
    because, exportable = getattr(cls, "not_exportable_because", ""), getattr(cls, "exportable")  # noqa: B009
    judge.demand(
        exportable or bool(because), "exportable is False; say why in not_exportable_because"
    )
    judge.demand(
        not (exportable and because),
        f"exportable is True, but not_exportable_because says {because!r}",
    )


def _case(
    judge: Judge,
    explainer: Explainer,
    adapter: Adapter,
    candidates: list[Network],
    target: Any,
) -> Case:
    """The first network that the adapter reads and the explainer takes."""
    refusals: dict[str, None] = {}
    for network in candidates:
        try:
            layer = network.layer or _layer(explainer, adapter, network)
            drawn = _target(adapter, network) if target is None else target
            case = Case(
                judge, explainer, adapter, Network(network.model, layer, network.images), drawn
            )
            probe = case.probe()
            with quiet():
                explainer.check(probe)
                explainer.saliency(probe)
        except CamportError as error:
            if not explainer.needs_gradients and "needs_gradients" in str(error):
                judge.rule = "true_traits"
                judge.fail(str(error))
            # the same remark on several networks is one remark
            refusals.setdefault(f"{type(error).__name__}: {error}")
            continue
        return case
    raise ConformanceError(
        judge.who, judge.rule, f"{'; '.join(refusals)}; another network can be given as model="
    )


def _given(model: nn.Module, images: Tensor | None, layer: str | None) -> Network:
    if images is None:
        images = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    like = next((p for p in model.parameters() if p.is_floating_point()), images)
    return Network(copy.deepcopy(model).eval(), layer, images.to(like.device, like.dtype))


def _layer(explainer: Explainer, adapter: Adapter, network: Network) -> str | None:
    """The layer that `bind` would choose."""
    if not explainer.needs_layer:
        return None
    double = double_of(network.model)
    return str(choose(record(double, lambda: adapter.call(double, network.images[:1]))))


def _target(adapter: Adapter, network: Network) -> Any:
    """Another target for each image where the adapter's target is one tensor; else its default."""
    if len(adapter.inputs) != 1:
        return None
    with torch.no_grad():
        outputs = adapter.call(network.model, network.images[:1])
    generator = torch.Generator().manual_seed(3)
    drawn = adapter.sample_for(network.images, outputs, network.images.shape[0], generator)
    return drawn[adapter.inputs[0]].to(network.images.device)
