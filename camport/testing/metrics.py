"""The conformance kit for metrics."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from camport.core.bind import bind
from camport.core.bound import Bound
from camport.core.case import Case
from camport.core.metric import NEEDS, Metric
from camport.core.scorer import Scorer
from camport.errors import InputError
from camport.testing.case import quiet
from camport.testing.conformance import Judge
from camport.testing.fingerprint import changes, fingerprint, no_filters
from camport.testing.networks import networks
from camport.testing.values import check_texts, check_values

CLASSES = (1, 3, 0)


@dataclass(frozen=True)
class Measured:
    """A metric, and a bound method with images, classes and regions to measure it on."""

    judge: Judge
    metric: Metric
    bound: Bound
    images: Tensor
    region: Tensor

    def case(self, rows: slice = slice(None), heatmap: Tensor | None = None) -> Case:
        """What the metric declares to need, and nothing else."""
        needs, target = self.metric.needs, torch.tensor(CLASSES)[rows]
        region = self.region[rows] if "region" in needs else None
        images = self.images[rows]
        with quiet():
            if "explain" in needs:
                return Case.of(self.bound, images, target, region)
            maps = self.bound(images, target).heatmap if heatmap is None else heatmap
            scorer = Scorer.of(self.bound, images, target) if "model" in needs else None
            return Case(images, maps, region, None, scorer)

    def figure(self, case: Case) -> Tensor:
        """Measured, without remarks on flat maps."""
        with quiet():
            return self.metric.measure(case)

    def same(self, a: Tensor, b: Tensor) -> bool:
        """Equal but for rounding."""
        return torch.allclose(a.double(), b.double(), rtol=1e-5, atol=1e-6)


def check_metric(cls: type[Metric] | Metric) -> None:
    """Checks that a metric keeps the rules; returns nothing where it does.

    The rules are `traits`, `options` and those in `RULES`, on maps of a small network. What the kit
    draws is seeded, and the random states are as before afterwards.

    Args:
        cls: the class, or an instance to check it with other options than its defaults.

    Raises:
        ConformanceError: naming the rule, what was found, and what to do.
    """
    given = cls if isinstance(cls, type) else type(cls)
    judge = Judge(getattr(given, "__name__", repr(given)))
    with judge.judging("traits"):
        _traits(judge, given)
    with judge.judging("options"):
        metric = cls if isinstance(cls, Metric) else judge.made(given, Metric)
        check_values(judge, metric)
    with judge.judging("a case"):
        network = next(n for n in networks() if n.layer == "features")
        drawn = torch.rand(network.images[:, 0].shape, generator=torch.Generator().manual_seed(7))
        method = bind(network.model, "saliency")  # whose maps are never flat
        measured = Measured(judge, metric, method, network.images, drawn < 0.3)
    for rule in RULES:
        with judge.judging(rule.__name__), torch.enable_grad():
            rule(measured)
    with judge.judging("options"):
        check_values(judge, metric)  # again: has it kept state on the instance?


def figure(measured: Measured) -> None:
    """A finite number an image, [b], within the declared range."""
    found, b = measured.figure(measured.case()), len(CLASSES)
    judge = measured.judge
    judge.demand(
        isinstance(found, Tensor), f"measure returned {type(found).__name__}, not a tensor [b]"
    )
    judge.demand(
        tuple(found.shape) == (b,),
        f"measure returned shape {tuple(found.shape)}; wanted [b] with b = {b}",
    )
    judge.demand(
        found.is_floating_point(), f"measure returned {found.dtype}; wanted floating point"
    )
    judge.demand(bool(found.isfinite().all()), f"figures are {found.tolist()}, which is not finite")
    judge.demand(
        not found.requires_grad,
        "the figure carries a graph; detach it, or measure under torch.no_grad",
    )
    _within(measured, found)


def flat_map(measured: Measured) -> None:
    """The figure of a map that is 0 everywhere is finite and within the range."""
    if "explain" in measured.metric.needs:
        return
    found = measured.figure(measured.case(heatmap=torch.zeros_like(measured.images[:, 0])))
    finite = bool(found.isfinite().all())
    measured.judge.demand(
        finite, f"of maps that are 0 everywhere figures are {found.tolist()}; guard the division"
    )
    _within(measured, found)


def deterministic(measured: Measured) -> None:
    """The same case has the same figures, to the last bit."""
    first, second = (measured.figure(measured.case()) for _ in range(2))
    measured.judge.demand(
        torch.equal(first, second),
        lambda: (
            f"figures are {first.tolist()}, then {second.tolist()}; draw numbers from a seed of"
            " its own"
        ),
    )


def independent_of_batch(measured: Measured) -> None:
    """The figure of an image does not depend on the others of its batch."""
    together = measured.figure(measured.case())
    for i in range(len(CLASSES)):
        alone = measured.figure(measured.case(slice(i, i + 1)))
        measured.judge.demand(
            measured.same(together[i : i + 1], alone),
            f"image {i} has {float(together[i]):.6g} in a batch and {float(alone[0]):.6g} alone",
        )


def scale_free(measured: Measured) -> None:
    """Where it is declared, a map that is multiplied by a positive number has the same figure."""
    if not measured.metric.scale_free or "explain" in measured.metric.needs:
        return
    case = measured.case()
    first = measured.figure(case)
    second = measured.figure(replace(case, heatmap=case.heatmap * 0.25, _known={}))
    measured.judge.demand(
        measured.same(first, second),
        lambda: (
            f"figures are {first.tolist()}, of a quarter of the map {second.tolist()}; declare"
            " scale_free = False"
        ),
    )


def nothing_changes(measured: Measured) -> None:
    """Maps, regions, images, the model and the random states are as before."""
    case = measured.case()
    held = {"the images": case.images, "the heatmap": case.heatmap}
    held |= {} if case.region is None else {"the region": case.region}
    measured.bound.model.eval()  # whatever was done to it so far
    with no_filters():
        before = fingerprint(measured.bound.model, **held)
        measured.figure(case)
        changed = sorted(changes(before, fingerprint(measured.bound.model, **held)))
    measured.judge.demand(
        not changed, f"after measuring this had changed: {'; '.join(changed[:4])}"
    )


def curves(measured: Measured) -> None:
    """Curves are [b,steps], and the figure is their summary."""
    with quiet():
        found, drawn = measured.metric.measured(measured.case())
    for name, curve in drawn.items():
        shape = tuple(curve.shape)
        measured.judge.demand(
            len(shape) == 2 and shape[0] == len(CLASSES),
            f"curve {name!r} has shape {shape}; wanted [b,steps]",
        )
        measured.judge.demand(bool(curve.isfinite().all()), f"curve {name!r} is not finite")
    alone = measured.figure(measured.case())
    measured.judge.demand(
        measured.same(found, alone), "measure gives other figures than the summary of its curves"
    )


def refuses(measured: Measured) -> None:
    """A case without what the metric needs is refused with InputError, before anything is run."""
    for need in sorted(measured.metric.needs):
        bare = Case(
            measured.images,
            measured.images[:, 0].float(),
            None if need == "region" else measured.region,
        )
        try:
            measured.figure(bare)
        except InputError:
            continue
        measured.judge.fail(
            f"it measured a case without {need!r}; begin measure with case.check(self)"
        )


RULES: tuple[Callable[[Measured], None], ...] = (
    figure,
    refuses,
    flat_map,
    deterministic,
    independent_of_batch,
    scale_free,
    nothing_changes,
    curves,
)
"""Each checks one rule, which its docstring states;
in the order in which a broken one is reported."""


def _within(measured: Measured, found: Tensor) -> None:
    low, high = measured.metric.range
    inside = bool(((found >= low - 1e-9) & (found <= high + 1e-9)).all())
    measured.judge.demand(
        inside, f"figures are {found.tolist()}, the declared range is [{low:g},{high:g}]"
    )


def _traits(judge: Judge, cls: type) -> None:
    judge.demand(issubclass(cls, Metric), "it is no subclass of camport.Metric")
    assert issubclass(cls, Metric)
    judge.demand(not inspect.isabstract(cls), "it is abstract")
    ways = any(
        getattr(cls, name) is not getattr(Metric, name)
        for name in ("__call__", "measure", "curves")
    )
    judge.demand(ways, "it implements neither __call__ nor measure nor curves")
    check_texts(judge, cls, ("name", "title", "paper"))
    judge.demand(
        isinstance(cls.needs, frozenset) and cls.needs <= NEEDS,
        f"needs is {cls.needs!r}; declare a frozenset of {', '.join(sorted(NEEDS))}",
    )
    judge.demand(
        cls.better in ("higher", "lower"), f"better is {cls.better!r}; declare 'higher' or 'lower'"
    )
    low, high = cls.range
    judge.demand(low < high, f"range is {cls.range!r}; declare the least and the largest figure")
