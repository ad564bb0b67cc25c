"""Rules on the maps of an explainer."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from camport.core.isolation.private_copy import double_of
from camport.core.running.runs import record
from camport.errors import CamportError, InputError, LayerError, MethodError
from camport.testing.case import Case, quiet, row


def raw_map(case: Case) -> None:
    """`saliency` returns one finite floating-point map [h,w] an image."""
    with quiet():
        probe = case.probe()
        case.explainer.check(probe)
        raw = case.explainer.saliency(probe)
    case.judge.demand(
        isinstance(raw, torch.Tensor),
        f"saliency returned {type(raw).__name__}, not a tensor [b,h,w]",
    )
    shape, b = tuple(raw.shape), case.images.shape[0]
    case.judge.demand(
        raw.dim() == 3 and shape[0] == b and 0 not in shape,
        f"saliency returned {shape}; wanted [b,h,w] with b = {b}",
    )
    case.judge.demand(
        raw.is_floating_point(),
        f"saliency returned {str(raw.dtype).removeprefix('torch.')}; a map is floating point",
    )
    bad = int((~raw.isfinite()).sum())
    case.judge.demand(
        bad == 0,
        f"{bad} of {raw.numel()} values of the raw map are NaN or infinite; guard divisions with"
        " torch.where",
    )


def true_traits(case: Case) -> None:
    """needs_gradients and needs_layer say what `saliency` really uses."""
    try:
        case.explain()
    except MethodError as error:
        case.judge.fail(f"{error}; declare on the class what is true")


def heatmap(case: Case) -> None:
    """The heatmap has the images' size and lies in [0,1], and not every map is flat."""
    explanation = case.explain()
    b, _, height, width = case.images.shape
    found = explanation.heatmap
    case.judge.demand(
        tuple(found.shape) == (b, height, width) and found.dtype == torch.float32,
        f"the heatmap is {found.dtype} {tuple(found.shape)}; wanted float32 {(b, height, width)}",
    )
    low, high = float(found.amin()), float(found.amax())
    case.judge.demand(
        0 <= low <= high <= 1, f"the heatmap lies in [{low:.4g}, {high:.4g}]; wanted [0,1]"
    )
    case.judge.demand(
        high > 0,
        f"the maps of all {b} images are flat (the first value is"
        f" {explanation.raw.flatten()[0]:.4g})",
    )


def deterministic(case: Case) -> None:
    """The same images give the same map, whatever ran before and whatever the random state is."""
    with seeds(1):
        first = case.explain().raw
    with seeds(2):
        case.explain(case.images.flip(0, 3) * 0.5)
        second = case.explain().raw
    gap = float((first - second).abs().amax()) if first.shape == second.shape else float("inf")
    case.judge.demand(
        torch.equal(first, second)
        or (case.images.device.type != "cpu" and case.same(first, second)),
        f"two runs on the same images differ by {gap:.3g}; draw random numbers from a generator"
        " with a seed that is an option, and keep no state on the instance",
    )


def independent_of_batch(case: Case) -> None:
    """A batch gives what its images give one by one, each with its own target."""
    together = case.explain()
    for i in range(case.images.shape[0]):
        alone = case.explain(case.images[i : i + 1], row(case.target, i))
        if not case.same(together.raw[i], alone.raw[0]):
            means = float(together.raw[i].mean()), float(alone.raw[0].mean())
            case.judge.fail(
                f"image {i} has another map in a batch of {case.images.shape[0]} (mean"
                f" {means[0]:.4g}) than alone ({means[1]:.4g}); reduce over channels and places,"
                " never over the first axis"
            )


def out_of_place(case: Case) -> None:
    """`saliency` writes into nothing it is given: images, activations, gradients."""
    with quiet():
        used, fresh = case.probe(), case.probe()
        case.explainer.saliency(used)
        pairs = [("the images", used.images, fresh.images)]
        if case.explainer.needs_layer:
            pairs += [
                ("activations", a, b)
                for a, b in zip(used.activations, fresh.activations, strict=True)
            ]
        if case.explainer.needs_layer and case.explainer.needs_gradients:
            pairs += [
                ("gradients", a, b) for a, b in zip(used.gradients, fresh.gradients, strict=True)
            ]
    for what, a, b in pairs:
        case.judge.demand(
            torch.equal(a, b),
            f"saliency changed {what} of its probe; use operations that are not in place",
        )


def several_layers(case: Case) -> None:
    """Several layers are fused into one map, or refused; never are all but one ignored."""
    layer = case.network.layer
    if not case.explainer.needs_layer or layer is None:
        return
    other = _earlier(case, layer)
    if other is None:
        return
    try:
        both = case.explain(layer=[layer, other]).raw
    except (LayerError, MethodError, InputError):
        return  # said so: it explains one layer
    except CamportError:
        raise
    except Exception as error:
        case.judge.fail(
            f"layers {layer!r} and {other!r} end in {type(error).__name__}: {error}; fuse maps with"
            " camport.core.fuse, or refuse in check() with MethodError"
        )
    case.judge.demand(
        both.dim() == 3 and bool(both.isfinite().all()),
        f"two layers give {tuple(both.shape)}, or values not finite",
    )
    swapped = case.explain(layer=[other, layer]).raw
    ignored = torch.equal(both, case.explain().raw) and torch.equal(
        swapped, case.explain(layer=other).raw
    )
    case.judge.demand(
        not ignored,
        "of several layers all but the first are ignored; fuse maps with camport.core.fuse, or"
        " refuse in check() with MethodError",
    )


def _earlier(case: Case, layer: str) -> str | None:
    """A layer before `layer` whose maps have another size."""
    double = double_of(case.network.model)
    runs = record(double, lambda: case.adapter.call(double, case.images[:1]))
    size = next((run.shape for run in runs if run.name == layer), ())
    for run in runs:
        if run.name == layer:
            return None
        if (
            len(run.shape) == len(size) == 4
            and run.shape[2:] != size[2:]
            and min(run.shape[2:]) > 1
        ):
            return run.name
    return None


@contextmanager
def seeds(seed: int) -> Iterator[None]:
    """Other random states, and the former ones afterwards."""
    states = (
        torch.get_rng_state(),
        np.random.get_state(),  # noqa: NPY002 - what plugins may use
        random.getstate(),
    )
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - likewise
    random.seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(states[0])
        np.random.set_state(states[1])  # noqa: NPY002 - likewise
        random.setstate(states[2])
