"""The conformance kit for adapters."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from camport.core.adapter import Adapter
from camport.core.bind import bind
from camport.errors import CamportError, InputError, LayerError
from camport.testing.case import quiet
from camport.testing.conformance import Judge
from camport.testing.exporting import check_onnx, single_precision
from camport.testing.fingerprint import changes, fingerprint, no_filters
from camport.testing.scored import (
    Scored,
    Target,
    check_inputs,
    check_rows,
    scored_on_a_network,
)
from camport.testing.values import check_texts, check_values

OF_FIELDS = ("inputs", "prepare", "resolve", "explained", "sample")
"""What an adapter has of its `fields`, and implements itself where it declares none."""


def check_adapter(
    cls: type[Adapter] | Adapter,
    *,
    model: nn.Module | None = None,
    images: Tensor | None = None,
    target: Any = None,
    nonsense: Sequence[Any] = (),
    export: bool = True,
) -> None:
    """Checks that an adapter keeps the rules; returns nothing where it does.

    Args:
        cls: the class, or an instance to check it with other options than its defaults.
        model: a network whose outputs it reads; one of the kit's small ones where left out.
        images: [b,c,H,W] for it, three or more.
        target: for these images, as a user gives it; what the adapter itself samples where left
            out.
        nonsense: further targets that `prepare` has to refuse.
        export: also write an ONNX file of a Grad-CAM with it and compare that with eager PyTorch;
            takes seconds.

    Raises:
        ConformanceError: naming the rule, what was found, and what to do.
        MissingDependencyError: `export` without onnx or onnxruntime.
    """
    given = cls if isinstance(cls, type) else type(cls)
    judge = Judge(getattr(given, "__name__", repr(given)))
    with judge.judging("traits"):
        judge.demand(issubclass(given, Adapter), "it is no subclass of camport.Adapter")
        lacking = set(getattr(given, "__abstractmethods__", ()))
        if not given.fields:
            lacking |= {
                name for name in OF_FIELDS if getattr(given, name) is getattr(Adapter, name)
            }
        judge.demand(
            not lacking, f"it does not implement {', '.join(sorted(lacking))}; or declare `fields`"
        )
        check_texts(judge, given, ("name", "title"))
    with judge.judging("options"):
        adapter = cls if isinstance(cls, Adapter) else judge.made(given, Adapter)  # type: ignore[type-abstract]
        check_values(judge, adapter)
    with judge.judging("inputs"):
        check_inputs(judge, adapter)
    with judge.judging("fits a network"):
        scored = scored_on_a_network(judge, adapter, model, images, target, nonsense)
    for rule in (*RULES, *([onnx_file] if export else [])):
        with judge.judging(rule.__name__):
            rule(scored)


def sample(scored: Scored) -> None:
    """`sample` draws a target a batch, by its generator alone,
    also for more images than the outputs are of."""
    adapter, judge, b = scored.adapter, scored.judge, scored.batch + 1
    outputs, one = _of_one(scored, 0, scored.given), scored.network.images[:1]
    first, second = (
        adapter.sample_for(one, outputs, b, torch.Generator().manual_seed(5)) for _ in range(2)
    )
    check_rows(judge, adapter, first, b, "sample")
    same = all(torch.equal(first[k], second[k]) for k in first)
    judge.demand(
        same, "sample gives two targets for one generator state; draw from the generator only"
    )


def prepare(scored: Scored) -> None:
    """`prepare` gives the tensors that `inputs` names, a row an image."""
    images = scored.network.images
    try:
        default = scored.adapter.prepare_for(scored.network.model, None, images)
    except InputError:
        default = None  # there is no default: a target has to be given
    if default is not None:
        check_rows(scored.judge, scored.adapter, default, scored.batch, "prepare")
        with torch.no_grad():
            outputs = scored.adapter.ask(scored.network.model, images, default)
        scored.adapter.check(outputs, default)


def refuses_nonsense(scored: Scored) -> None:
    """`prepare` refuses what is no target with InputError."""
    images, adapter = scored.network.images, scored.adapter
    bad = [object(), {"no such input": 1}, torch.zeros(2, 2, 2, 2, 2), *scored.nonsense]
    if len(adapter.inputs) == 1:
        rows = scored.given[adapter.inputs[0]]
        bad.append(torch.cat([rows, rows[:1]]))  # a row too many
    for value in bad:
        shown = f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        try:
            adapter.prepare(value, images)
        except InputError:
            continue
        except Exception as error:
            scored.judge.fail(
                f"prepare({shown}) raised {type(error).__name__}: {error}; raise"
                " camport.errors.InputError"
            )
        scored.judge.fail(f"prepare took {shown} for a target; refuse it with InputError")


def resolve(scored: Scored) -> None:
    """`resolve` fills in defaults: every input is still there, a row an image,
    and the same each time."""
    adapter, judge = scored.adapter, scored.judge
    first, second = (adapter.resolve(scored.outputs, scored.given) for _ in range(2))
    missing = [name for name in adapter.inputs if name not in first]
    judge.demand(not missing, f"resolve dropped {', '.join(missing)}")
    for name, value in first.items():
        judge.demand(
            isinstance(value, Tensor) and value.dim() > 0 and value.shape[0] == scored.batch,
            f"resolve gives {name} without a row an image, so chunks of a batch cannot be scored",
        )
        judge.demand(
            torch.equal(value, second[name]), f"resolve gives {name} differently the second time"
        )
    shown = adapter.explained(first)
    judge.demand(
        isinstance(shown, Tensor) and shown.dim() > 0 and shown.shape[0] == scored.batch,
        f"explained gives {shown!r}; wanted a tensor with a row an image",
    )


FAR = (10**6, -(10**6))
"""Numbers that few classes and parts are known by."""


def out_of_range(scored: Scored) -> None:
    """A class or an integer far out of range is refused, by `least`, `most` or `check`, or has a
    score that hangs on the outputs."""
    judge, adapter = scored.judge, scored.adapter
    for field in adapter.fields:
        for value in FAR if field.kind in ("class", "integer") else ():
            shown = f"{field.name}={value}"
            try:
                rows = torch.from_numpy(field.rows(value, scored.batch).copy())
                given = {**scored.given, field.name: rows}
                with torch.no_grad():
                    adapter.check(scored.outputs, given)
            except CamportError:
                continue
            except Exception as error:
                judge.fail(
                    f"check raised {type(error).__name__} for {shown}: {error}; raise"
                    " camport.errors.InputError"
                )
            remedy = "refuse it in check with camport.errors.InputError, or declare the field's"
            try:
                leaves, y = _differentiable(replace(scored, given=given))
                grads = torch.autograd.grad(y.sum(), leaves, allow_unused=True)
            except Exception as error:
                judge.fail(
                    f"check let {shown} pass, and score raised {type(error).__name__}; {remedy}"
                    " least and most"
                )
            judge.demand(
                bool(y.isfinite().all()) and any(g is not None and bool(g.any()) for g in grads),
                f"check let {shown} pass, whose score {y.tolist()} hangs on nothing; {remedy} least"
                " and most",
            )


def score(scored: Scored) -> None:
    """`score` is one finite number an image, and has a finite gradient with respect to the
    outputs."""
    judge, leaves, y = scored.judge, *_differentiable(scored)
    judge.demand(isinstance(y, Tensor), f"score returned {type(y).__name__}, not a tensor [b]")
    shape = tuple(y.shape)
    judge.demand(
        shape == (scored.batch,), f"score returned {shape}; wanted [b] with b = {scored.batch}"
    )
    judge.demand(
        y.is_floating_point() and bool(y.isfinite().all()), "score is not finite and floating point"
    )
    judge.demand(
        y.requires_grad, "score is not differentiable: no path leads from it to the outputs"
    )
    grads = [g for g in torch.autograd.grad(y.sum(), leaves, allow_unused=True) if g is not None]
    finite = all(bool(g.isfinite().all()) for g in grads)
    judge.demand(finite, "the gradient of score with respect to the outputs is not finite")
    judge.demand(
        any(bool(g.any()) for g in grads),
        "the gradient of score with respect to the outputs is zero",
    )


def independent_of_batch(scored: Scored) -> None:
    """The score of an image depends on its own outputs and target alone."""
    adapter, judge = scored.adapter, scored.judge
    with torch.no_grad():
        together = adapter.score(scored.outputs, adapter.resolve(scored.outputs, scored.given))
        for i in range(scored.batch):
            given = {k: v[i : i + 1] for k, v in scored.given.items()}
            outputs = _of_one(scored, i, scored.given)
            alone = adapter.score(outputs, adapter.resolve(outputs, given))
            judge.demand(
                torch.allclose(together[i], alone[0], rtol=1e-4, atol=1e-6),
                f"image {i} scores {float(together[i]):.6g} in a batch and {float(alone[0]):.6g}"
                " alone",
            )


def pure(scored: Scored) -> None:
    """Nothing that is scored is written to, and the model is left as found."""
    adapter, network = scored.adapter, scored.network
    network.model.eval()  # whatever was done to it so far
    outputs = {
        f"output {i}": v for i, v in enumerate(tree_leaves(scored.outputs)) if isinstance(v, Tensor)
    }
    held = {
        **outputs,
        **{f"the target's {k}": v for k, v in scored.given.items()},
        "images": network.images,
    }
    with torch.no_grad(), no_filters():
        before = fingerprint(network.model, **held)
        adapter.ask(network.model, network.images, scored.given)
        adapter.check(scored.outputs, scored.given)
        adapter.explained(adapter.resolve(scored.outputs, scored.given))
        adapter.score(scored.outputs, adapter.resolve(scored.outputs, scored.given))
        changed = sorted(changes(before, fingerprint(network.model, **held)))
    scored.judge.demand(not changed, f"after scoring this had changed: {'; '.join(changed[:4])}")


def explains(scored: Scored) -> None:
    """Methods with and without a target layer explain with it."""
    network = scored.network
    for method in ("gradcam", "saliency"):
        with quiet():
            try:
                explanation = bind(network.model, method, network.layer, scored.adapter)(
                    network.images[:1]
                )
            except (InputError, LayerError):
                continue  # a target has to be given, or this network has no such layer
        finite = bool(explanation.raw.isfinite().all())
        scored.judge.demand(finite, f"{method} with this adapter has values that are not finite")


def onnx_file(scored: Scored) -> None:
    """A Grad-CAM with it, as an ONNX file, gives what eager PyTorch gives."""
    network = scored.network
    bound = bind(single_precision(network.model), "gradcam", network.layer, scored.adapter)
    check_onnx(scored.judge, bound, network.images.float(), _example(scored))


RULES: tuple[Callable[[Scored], None], ...] = (
    prepare,
    refuses_nonsense,
    sample,
    resolve,
    pure,
    score,
    out_of_range,
    independent_of_batch,
    explains,
)
"""Each checks one rule, which its docstring states;
in the order in which a broken one is reported."""


def _example(scored: Scored) -> Any:
    """A target as a user passes it, for an adapter that has none of its own."""
    adapter = scored.adapter
    try:
        adapter.prepare_for(scored.network.model, None, scored.network.images)
    except InputError:
        given = {k: v.float() if v.is_floating_point() else v for k, v in scored.given.items()}
        return given if len(given) != 1 else next(iter(given.values()))
    return None


def _of_one(scored: Scored, i: int, given: Target) -> Any:
    """What the network says about one image."""
    with torch.no_grad():
        about = {k: v[i : i + 1] for k, v in given.items()}
        return scored.adapter.ask(scored.network.model, scored.network.images[i : i + 1], about)


def _differentiable(scored: Scored) -> tuple[list[Tensor], Any]:
    """The outputs as leaves, and their score."""
    adapter, fresh = scored.adapter, {}
    for v in tree_leaves(scored.outputs):
        if isinstance(v, Tensor) and v.is_floating_point():
            fresh[id(v)] = v.detach().clone().requires_grad_()
    target = adapter.resolve(scored.outputs, scored.given)
    with torch.enable_grad():
        outputs = tree_map(lambda v: fresh.get(id(v), v), scored.outputs)
        return list(fresh.values()), adapter.score(outputs, target)
