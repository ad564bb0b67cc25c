"""The kit's rules on arguments, weights, Python-side state and threads:
each catches one broken explainer."""

import logging
import os
import sys
import threading
import time
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

import camport
from camport.adapters import ClassificationAdapter
from camport.core.maps.fusion import fuse
from camport.metrics import PointingGame
from camport.testing import (
    ConformanceError,
    arguments,
    check_adapter,
    check_explainer,
    check_metric,
    models,
    threads,
)
from camport.testing.case import Case
from camport.testing.conformance import Judge
from camport.testing.networks import networks


class Good(camport.Explainer):
    """The smallest that conforms."""

    name, title, paper, family, needs_gradients = "good", "Good", "-", "activation", False

    def saliency(self, probe):
        return fuse([a.sum(1) for a in probe.activations])


def case(explainer):
    network = next(n for n in networks() if n.layer == "features")
    target = torch.zeros(len(network.images), dtype=torch.int64)
    return Case(
        Judge(type(explainer).__name__), explainer, ClassificationAdapter(), network, target
    )


def caught(rule, explainer, match):
    with pytest.raises(ConformanceError, match=match):
        rule(case(explainer))


@pytest.mark.parametrize(
    "rule",
    [
        arguments.argument_kinds,
        arguments.option_kinds,
        arguments.nan_weights,
        models.python_state,
        threads.among_threads,
    ],
)
def test_the_good_one_keeps_them(rule):
    rule(case(Good()))


def test_an_option_of_any_kind():
    @dataclass(frozen=True)
    class Scaled(Good):
        scale: Any = 1.0

        def saliency(self, probe):
            return probe.activations[0].sum(1) * self.scale

    caught(
        arguments.option_kinds,
        Scaled(),
        "the option scale = <object object at .* raises TypeError: .*InputError",
    )

    @dataclass(frozen=True)
    class Ignored(Good):
        scale: Any = 1.0

    caught(
        arguments.option_kinds,
        Ignored(),
        "the option scale = <object .* is taken, and gives Explanation; refuse it",
    )


def test_a_target_of_any_kind(monkeypatch):
    monkeypatch.setattr(ClassificationAdapter, "prepare", lambda self, target, images: target + 1)
    caught(
        arguments.argument_kinds, Good(), r"target = .* raises Type(Check)?Error: .*refuse it with"
    )


def test_a_map_of_a_model_that_is_not_finite(monkeypatch):
    monkeypatch.setattr("camport.core.bound.check_finite", lambda *_: None)
    caught(arguments.nan_weights, Good(), "a weight = nan is taken")


def test_the_users_model_is_run():
    class Runs(Good):
        def saliency(self, probe):
            USED[0](probe.images)
            return super().saliency(probe)

    USED: list = [None]
    found = case(Runs())
    explain = type(found).explain

    class Watched(Case):
        def explain(self, *args, model=None, **options):
            USED[0] = model
            return explain(self, *args, model=model, **options)

    with pytest.raises(ConformanceError, match="the model's own calls, seen, log had changed"):
        models.python_state(Watched(*(getattr(found, f) for f in found.__dataclass_fields__)))


def test_state_that_two_threads_share():
    class Shared(Good):
        meeting: ClassVar = threading.Barrier(2)
        held: ClassVar = [0]

        def saliency(self, probe):
            if threading.current_thread() is not threading.main_thread():
                self.held[0] += 1
                self.meeting.wait(60)
                return super().saliency(probe) * self.held[0]
            return super().saliency(probe)

    caught(threads.among_threads, Shared(), "give other maps than one; keep no state")


def test_another_threads_random_numbers():
    class Draws(Good):
        def saliency(self, probe):
            torch.default_generator.manual_seed(3)
            return super().saliency(probe)

    caught(
        threads.among_threads, Draws(), "another thread's random numbers are not the serial ones"
    )


def test_another_threads_numbers_of_numpy():
    """State that is put back is that of another thread, which draws its numbers twice."""

    class PutsBack(Good):
        def saliency(self, probe):
            state = np.random.get_state()  # noqa: NPY002 - the mistake
            np.random.seed(0)  # noqa: NPY002
            time.sleep(0.002)
            np.random.set_state(state)  # noqa: NPY002
            return super().saliency(probe)

    caught(
        threads.among_threads, PutsBack(), "another thread's random numbers are not the serial ones"
    )


def test_the_whole_kit_has_them():
    check_explainer(Good, export=False)


def changes_filters():
    warnings.simplefilter("ignore")


def changes_environment():
    os.environ["CAMPORT_OF_A_PLUGIN"] = os.environ.get("CAMPORT_OF_A_PLUGIN", "") + "x"


def changes_path():
    sys.path.append("somewhere")


def changes_logging():
    logging.disable(logging.root.manager.disable + 1)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (changes_filters, "the process's warning filters"),
        (changes_environment, "the environment"),
        (changes_path, "sys.path"),
        (changes_logging, "the level of logging"),
    ],
)
def test_what_a_plugin_changes_in_the_process(monkeypatch, change, said):
    """Each run changes it, the first ones of a kit included."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("CAMPORT_OF_A_PLUGIN", "")
    monkeypatch.setattr(logging.root.manager, "disable", 0)

    class Map(Good):
        def saliency(self, probe):
            change()
            return super().saliency(probe)

    class Score(ClassificationAdapter):
        def score(self, outputs, target):
            change()
            return super().score(outputs, target)

    class Figure(PointingGame):
        def measure(self, case):
            change()
            return super().measure(case)

    for kit, broken in ((check_explainer, Map), (check_adapter, Score), (check_metric, Figure)):
        with (
            warnings.catch_warnings(),
            pytest.raises(ConformanceError, match=f"this had changed: {said}$"),
        ):
            kit(broken)
