"""How methods run a model many times: in chunks, nothing twice, reproducibly, interruptibly,
and telling how far."""

import dataclasses
import inspect

import pytest
import torch
from torch import nn

import camport
from camport.core import registry
from camport.core.running.chunk_size import LARGEST_CHUNK, chunk_for, free_bytes
from camport.core.running.evaluation import Evaluation
from camport.plugins import (
    ISCAM,
    RISE,
    AblationCAM,
    GroupCAM,
    IntegratedGradients,
    ReciproCAM,
    ScoreCAM,
)
from tests.core.test_silent_failures import fingerprint, same
from tests.counting import seen_by
from tests.marks import rare
from tests.nets import images, seeded
from tests.plugins.quick import FEW, TARGET, away, names, plain, quiet, setting
from tests.plugins.test_references import Behind


def loops(name):
    """Whether a method runs variants of an image in a loop."""
    source = inspect.getsource(inspect.getmodule(registry.explainer(name)))
    return "probe.each(" in source or "probe.total(" in source


LOOPING = [name for name in names() if loops(name)]
RANDOM = [
    name
    for name in names()
    if "seed" in {f.name for f in dataclasses.fields(registry.explainer(name))}
]


def instance(name):
    return FEW.get(name) or registry.explainer(name)()


def test_all_that_perturb_are_here():
    assert {n for n, info in camport.methods().items() if info.family == "perturbation"} <= set(
        LOOPING
    )
    assert {"integrated_gradients", "smoothgrad", "smoothgradcam++"} <= set(LOOPING)


@pytest.mark.parametrize("chunk", [4, *rare(1, 7)])
@pytest.mark.parametrize("name", LOOPING)
def test_the_chunk_changes_nothing(name, chunk):
    s = setting(name)
    largest = seen_by(s.model)
    with quiet():
        explanation = camport.bind(s.model, s.method, s.layer, chunk=chunk)(s.x, TARGET)
    assert away(explanation.raw, plain(name).raw) < 1e-5
    # the clean images go together, and one variant of each
    assert max(largest) <= max(chunk, len(s.x))


def test_chunks_follow_from_the_size_of_an_image():
    """That they do not depend on the free memory, nor do results, is in
    tests/core/test_memory.py."""
    sizes = [chunk_for(images(2, (side, side), torch.float32)) for side in (4000, 448, 224, 64)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (1, LARGEST_CHUNK)
    assert free_bytes(torch.device("cpu")) > 0


def test_what_is_random_has_a_seed():
    assert {"rise", "sscam", "smoothgrad", "smoothgradcam++"} <= set(RANDOM)


@pytest.mark.parametrize("name", RANDOM)
def test_a_seed_chooses_the_map(name):
    s = setting(name)
    with quiet():
        maps = [
            camport.explain(
                s.model, s.x, dataclasses.replace(instance(name), seed=seed), TARGET, s.layer
            ).raw
            for seed in (3, 3, 4)
        ]
    assert torch.equal(maps[0], maps[1])
    assert away(maps[0], maps[2]) > 1e-3


def constant_channels(count=3):
    """The first channels of eight are 0 everywhere."""
    model = seeded(Behind())
    with torch.no_grad():
        model.features[3].weight[:count] = 0
        model.features[3].bias[:count] = -1
    return model


def second(bound, x, *counts):
    """The second of two calls, alone counted: at the first it is seen whether the model mixes
    images."""
    with quiet():
        bound(x, 1)
        for count in counts:
            count.clear()
        return bound(x, 1)


@pytest.mark.parametrize(
    ("method", "runs"),
    [
        (ScoreCAM(), 1 + 5 + 1),  # the clean image, five masks, one for all that are constant
        (ScoreCAM("torchcam"), 1 + 5 + 1),
        (ISCAM(4, "linear"), 1 + 5 * 4 + 1),
        (ISCAM(4), 1 + 5 * 3 + 1),  # the first of its scales is 0
        (GroupCAM(8, kernel=5, sigma=3.0), 1 + 1 + 5 + 1),  # and the blurred image
    ],
    ids=str,
)
def test_constant_masks_run_once(method, runs):
    model, x = constant_channels(), images(1)
    with torch.no_grad():
        alive = (model.features(x) != 0).any(3).any(2)[0]
        model.head[1].weight[:, alive] = model.head[1].weight[:, alive].abs()
    passed = seen_by(model)
    explanation = second(camport.bind(model, method, "features"), x, passed)
    assert int(alive.sum()) == 5
    if isinstance(method, GroupCAM):  # a group of negative weight has the mask 0 as well
        weights = explanation.gradients[0].mean((2, 3))[0]
        runs -= int((weights[alive] <= 0).sum())
    assert sum(passed) == runs


def test_dead_channels_are_ablated_once():
    model = constant_channels()
    passed = seen_by(model.head)
    second(camport.bind(model, "ablationcam", "features"), images(1), passed)
    assert sum(passed) - (5 + 1) <= 2  # the clean image is scored, and recorded


def test_dead_places_are_shown_once():
    class Dark(Behind):
        def __init__(self):
            super().__init__()
            self.features.append(nn.Threshold(4.0, 0.0))

    model, x = seeded(Dark()), images(1)
    dead = int((model.features(x) == 0).all(1).sum())
    assert 1 < dead < 63
    passed = seen_by(model.head)
    second(camport.bind(model, "reciprocam", "features"), x, passed)
    assert sum(passed) - (63 - dead + 1) <= 2


@pytest.mark.parametrize("method", [AblationCAM(), ReciproCAM()])
def test_only_the_tail_runs_where_only_the_tail_changes(method):
    model = seeded(Behind())
    front, tail = seen_by(model.features[0]), seen_by(model.head[1])
    second(camport.bind(model, method, "features"), images(2), front, tail)
    assert sum(front) <= 4  # the images, and once more recorded
    assert sum(tail) >= 2 * 8


@pytest.mark.parametrize("name", LOOPING)
def test_progress_is_told_and_an_interruption_leaves_the_model(name):
    s = setting(name)
    s.model.train()
    before, told = fingerprint(s.model), []

    def interrupt(done, total):
        told.append((done, total))
        if len(told) == 2:
            raise KeyboardInterrupt

    bound = camport.bind(s.model, s.method, s.layer, chunk=3)
    with quiet(), pytest.raises(KeyboardInterrupt):
        bound(s.x, TARGET, progress=interrupt)
    assert same(before, fingerprint(s.model))
    (first, total), (second, _) = told
    assert 0 < first < second <= total
    with quiet():
        again = bound(s.x, TARGET, progress=lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1]
    assert away(again.raw, plain(name).raw) < 1e-5


def test_rise_streams_its_masks(monkeypatch):
    """Never more than a chunk of them at once."""
    made, masks = [], RISE.masks

    def watched(self, numbers, images):
        made.append(len(numbers))
        return masks(self, numbers, images)

    monkeypatch.setattr(RISE, "masks", watched)
    camport.bind(seeded(Behind()), RISE(50), chunk=8)(images(1), 1)
    assert made == [8] * 6 + [2]


def test_rise_tells_how_far_it_is_from_infinitely_many_masks():
    model, x = seeded(Behind()), images(1, (8, 10))
    maps, errors = [], []
    for seed in range(6):
        explanation = camport.explain(model, x, RISE(200, 4, seed=seed), 1)
        maps.append(explanation.raw[0])
        errors.append(float(explanation.figures["monte_carlo_error"]))
    mean = torch.stack(maps).mean(0)
    away_from_it = [float((m - mean).norm() / mean.norm()) for m in maps]
    ratio = sum(away_from_it) / sum(errors)
    assert 0.7 < ratio < 1.2  # sqrt(5/6) is expected: the mean is of the six themselves
    more = camport.explain(model, x, RISE(800, 4), 1).figures["monte_carlo_error"]
    assert float(more) == pytest.approx(errors[0] / 2, rel=0.15)


def test_integrated_gradients_tell_their_gap():
    explanation = camport.explain(seeded(Behind()), images(), IntegratedGradients(5), 1)
    missed = explanation.figures["difference"] - explanation.raw.sum((1, 2))
    assert torch.allclose(explanation.figures["completeness_gap"], missed.double(), atol=1e-6)


def test_the_clean_images_are_scored_once(monkeypatch):
    """What does not change is not computed again: one pass, whatever the number of chunks."""
    passed, run = [], Evaluation.run

    def watched(self):
        if not self.passed:
            passed.append(len(self.images))
        run(self)

    monkeypatch.setattr(Evaluation, "run", watched)
    camport.bind(seeded(Behind()), ScoreCAM(), "features", chunk=1)(images(2), 1)
    assert passed == [2]
