"""The kit lets every registered metric pass, and catches one broken metric a rule."""

from dataclasses import dataclass

import pytest
import torch

import camport
from camport.core import registry
from camport.metrics import Deletion, Infidelity
from camport.testing import ConformanceError, check_metric
from tests.marks import mostly_rare

IN_MINUTES = (
    "energy_in_region",
    "entropy",
    "insertion_deletion",
    "average_drop",
    "max_sensitivity",
)
"""One of each kind of needs; the others are for `python -m tests --all`."""


@pytest.mark.parametrize("name", mostly_rare(sorted(camport.metrics()), IN_MINUTES))
def test_every_registered_metric_conforms(name):
    check_metric(registry.metric(name))


@pytest.mark.parametrize(
    "metric", [Deletion(steps=4, preset="rise"), Infidelity(samples=9, relative=True)]
)
def test_other_options_conform(metric):
    check_metric(metric)


class Good(camport.Metric):
    """The smallest that conforms; the broken ones below differ from it in one thing each."""

    name, title = "good", "Good"

    def __call__(self, heatmap, region):
        total = heatmap.sum((1, 2))
        return (heatmap * region).sum((1, 2)) / torch.where(total > 0, total, 1)


class Asks(camport.Metric):
    """What it keeps of the probability where the image is halved."""

    name, title, needs = "asks", "Asks", frozenset({"model"})

    def measure(self, case):
        case.check(self)
        return case.scores(case.images / 2)


def test_the_good_ones_conform():
    check_metric(Good)
    check_metric(Asks())


def plain(figure, **traits):
    """A metric with this function of heatmap and region."""
    return type(
        "Bad",
        (Good,),
        {"__call__": lambda self, heatmap, region: figure(heatmap, region), **traits},
    )


def measuring(measure, **traits):
    return type("Bad", (Asks,), {"measure": measure, **traits})


def writes(heatmap, region):
    share = Good()(heatmap.clone(), region)
    heatmap.mul_(0.5)
    return share


def of_the_batch(heatmap, region):
    return (heatmap * region).sum((1, 2)) / heatmap.sum().clamp_min(1e-9)


def drawn(self, case):
    return torch.rand(case.images.shape[0])


def trains(self, case):
    case.check(self)
    case.scores._model.train()
    return case.scores(case.images)


def unguarded(heatmap, region):
    return (heatmap * region).sum((1, 2)) / heatmap.sum((1, 2))


@dataclass
class Loose(Good):
    """Its options may be changed."""

    margin: int = 0


@pytest.mark.parametrize(
    ("cls", "rule", "match"),
    [
        (int, "traits", "no subclass of camport.Metric"),
        (
            type("Bad", (camport.Metric,), {"name": "b", "title": "B"}),
            "traits",
            "neither __call__ nor measure",
        ),
        (
            type("Bad", (Good,), {"needs": {"truth"}}),
            "traits",
            "declare a frozenset of explain, model, region",
        ),
        (type("Bad", (Good,), {"better": "more"}), "traits", "declare 'higher' or 'lower'"),
        (type("Bad", (Good,), {"name": "Not A Name"}), "traits", "is not made of a-z"),
        (Loose, "options", "not frozen"),
        (plain(lambda h, r: h.mean()), "figure", r"shape \(\); wanted \[b\] with b = 3"),
        (plain(lambda h, r: h.amax((1, 2)) > 0), "figure", "wanted floating point"),
        (plain(lambda h, r: h.sum((1, 2))), "figure", r"the declared range is \[0,1\]"),
        (plain(lambda h, r: h.sum((1, 2)) / 0), "figure", "not finite"),
        (plain(unguarded), "flat_map", "guard the division"),
        (plain(of_the_batch), "independent_of_batch", "alone"),
        (plain(lambda h, r: (h * r).mean((1, 2))), "scale_free", "declare scale_free = False"),
        (plain(writes), "nothing_changes", "the values of the heatmap"),
        (
            measuring(lambda self, case: case.heatmap.amax((1, 2))),
            "refuses",
            "begin measure with case.check",
        ),
        (
            measuring(lambda self, case: case.check(self) or drawn(self, case)),
            "deterministic",
            "a seed of its own",
        ),
        (measuring(trains), "nothing_changes", "the mode of"),
    ],
)
def test_a_broken_rule_is_named(cls, rule, match):
    with pytest.raises(ConformanceError, match=match) as error:
        check_metric(cls)
    assert error.value.rule == rule, str(error.value)
    assert "\n" not in str(error.value)


def test_curves_are_a_row_an_image():
    class Bad(Asks):
        measure = camport.Metric.measure

        def curves(self, case):
            return {"curve": case.scores.probability}

        def summary(self, curves):
            return curves["curve"]

    with pytest.raises(
        ConformanceError, match=r"curve 'curve' has shape \(3,\); wanted \[b,steps\]"
    ) as error:
        check_metric(Bad)
    assert error.value.rule == "curves"
