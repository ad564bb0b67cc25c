"""Rules on what an explainer does to the model, and on models that other libraries stumble over."""

import copy
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from camport.testing.case import Case, with_inplace_relus
from camport.testing.fingerprint import changes, fingerprint, no_filters


def model_untouched(case: Case) -> None:
    """Modes, hooks, tensors and their versions, gradients, and global states are as before,
    also under no_grad."""
    model = _in_use(case.network.model)
    for said, context in (("", nullcontext()), (" under torch.no_grad()", torch.no_grad())):
        images = case.images.clone()
        with context, no_filters():
            before = fingerprint(model, images=images)
            case.explain(images, case.target, model=model)
            changed = sorted(changes(before, fingerprint(model, images=images)))
        case.judge.demand(
            not changed,
            f"after an explanation{said} this had changed: {'; '.join(changed[:4])}"
            + (f" and {len(changed) - 4} more" if len(changed) > 4 else ""),
        )


def python_state(case: Case) -> None:
    """What a model's forward writes into Python objects that it holds is as before."""
    model = copy.deepcopy(case.network.model)
    cls: type = type(model)

    def forward(self: Any, *args: Any, **options: Any) -> Any:
        self.calls += 1
        self.seen["last"] = args
        self.log.append(args)
        return cls.forward(self, *args, **options)  # type: ignore[attr-defined]

    model.__class__ = type(cls.__name__, (cls,), {"forward": forward})
    state: dict[str, Any] = {"calls": 3, "seen": {}, "log": []}
    for name, value in state.items():
        setattr(model, name, copy.copy(value))
    case.explain(model=model)
    changed = [name for name, value in state.items() if getattr(model, name) != value]
    case.judge.demand(
        not changed,
        f"after an explanation the model's own {', '.join(changed)} had changed; run the probe's"
        " model alone",
    )


def frozen_parameters(case: Case) -> None:
    """A model whose parameters require no gradient is explained as any other."""
    frozen = copy.deepcopy(case.network.model).requires_grad_(False)
    _as_expected(case, frozen, "parameters are frozen (requires_grad=False)")


def in_place_relu(case: Case) -> None:
    """A ReLU behind the layer that overwrites its input changes nothing."""
    model = with_inplace_relus(case.network.model)
    with torch.no_grad():
        outputs = [
            _first(case.adapter.call(m, case.images.clone())) for m in (model, case.network.model)
        ]
    if all(out is not None for out in outputs) and not case.same(outputs[0], outputs[1]):
        # what the ReLU overwrites is needed elsewhere in this model,
        # so that it is another model now
        return
    _as_expected(case, model, "the ReLUs behind the layer work in place")


def _as_expected(case: Case, model: nn.Module, where: str) -> None:
    expected = case.explain().raw
    try:
        found = case.explain(model=model).raw
    except Exception as error:
        case.judge.fail(f"where {where}: {type(error).__name__}: {error}")
    case.judge.demand(case.same(found, expected), f"where {where} the map is another one")


def _in_use(model: nn.Module) -> nn.Module:
    """A copy as found in the middle of somebody's work: training, partly frozen,
    with gradients and a hook."""
    model = copy.deepcopy(model).train()
    modules = [m for m in model.modules() if not list(m.children())]
    modules[0].eval()
    modules[-1].register_forward_hook(lambda *_: None)
    parameters = list(model.parameters())
    for p in parameters[:-1]:
        p.grad = torch.ones_like(p)
    for p in parameters[-1:]:
        p.requires_grad_(False)
    return model


def _first(outputs: Any) -> Tensor:
    leaves = torch.utils._pytree.tree_leaves(outputs)
    return next(
        (v for v in leaves if isinstance(v, Tensor) and v.is_floating_point()), torch.zeros(())
    )
