import warnings

import pytest
import torch

import camport
from camport import Metric
from camport.errors import FlatMapWarning, InputError
from camport.metrics import EnergyInRegion, PointingGame
from camport.metrics.evaluation import evaluate, every_metric
from tests import nets


def batches(sizes=(2, 3), size=(12, 16)):
    g = torch.Generator().manual_seed(3)
    for i, b in enumerate(sizes):
        region = torch.rand(b, *size, generator=g) < 0.3
        yield (
            nets.images(b, size, torch.float32, seed=i),
            torch.randint(4, (b,), generator=g),
            region,
        )


@pytest.fixture
def bound():
    return camport.bind(
        nets.seeded(nets.GapNet(), dtype=torch.float32), "feature_maps", layer="features"
    )


def test_is_the_mean_over_all_images_whatever_the_batches(bound):
    each = [(bound(x, t).heatmap, r) for x, t, r in batches()]
    found = evaluate(bound, batches())
    for metric in (PointingGame(), EnergyInRegion()):
        by_hand = torch.cat([metric(heat, region) for heat, region in each]).mean()
        assert found.scores[metric.name] == pytest.approx(float(by_hand), abs=1e-6)
    assert found.chance == pytest.approx(float(torch.cat([r for _, r in each]).float().mean()))
    assert (found.images, found.flat) == (5, 0)


def test_all_registered_metrics_by_default_or_those_given(bound):
    assert (
        {"pointing_game", "energy_in_region"}
        <= set(every_metric({"region"}))
        <= set(every_metric())
    )
    assert set(evaluate(bound, batches()).scores) == set(every_metric({"region"}))
    assert list(evaluate(bound, batches(), {"mine": PointingGame()}).scores) == ["mine"]


class Drawn(Metric):
    """A curve of two points: the heatmap's mean, and the probability."""

    name, title, needs = "drawn", "Drawn", frozenset({"model"})

    def curves(self, case):
        return {"both": torch.stack([case.heatmap.mean((1, 2)), case.scores.probability], 1)}

    def summary(self, curves):
        return curves["both"].sum(1)


def test_values_and_curves_of_each_image_in_their_order(bound):
    drawn = [(x, t, None) for x, t, _ in batches((2, 3))]
    found = evaluate(bound, drawn, {"drawn": Drawn(), "drawn again": Drawn()})
    assert list(found.curves) == ["drawn", "drawn again"]
    wanted = torch.cat([bound(x, t).heatmap.mean((1, 2)) for x, t, _ in drawn]).double()
    p = torch.cat(
        [bound.model(x).softmax(1).gather(1, t[:, None])[:, 0].detach() for x, t, _ in drawn]
    ).double()
    torch.testing.assert_close(
        found.curves["drawn"]["both"], torch.stack([wanted, p], 1), rtol=1e-6, atol=1e-7
    )
    torch.testing.assert_close(found.values["drawn"], wanted + p, rtol=1e-6, atol=1e-7)
    assert found.scores["drawn"] == pytest.approx(float((wanted + p).mean()), rel=1e-6)
    assert found.chance != found.chance
    with pytest.raises(InputError, match="pointing_game needs the true region"):
        evaluate(bound, drawn, {"pointing_game": PointingGame()})


def test_flat_maps_are_counted_and_silent(bound):
    with torch.no_grad():
        bound.model.features[0].weight.zero_()
        bound.model.features[0].bias.fill_(-1.0)
        bound.model.features[2].bias.zero_()
    with pytest.warns(FlatMapWarning):
        bound(*next(batches())[:2])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = evaluate(bound, batches())
    assert found.flat == found.images == 5
    assert found.scores["pointing_game"] == found.scores["energy_in_region"] == 0.0


def test_streams_and_reports(bound):
    events = []

    def stream():
        for batch in batches((1, 2, 3)):
            events.append("asked")
            yield batch

    evaluate(bound, stream(), progress=events.append)
    assert events == ["asked", 1, "asked", 3, "asked", 6]


def test_bad_sets_are_refused(bound):
    images, target, region = next(batches())
    with pytest.raises(InputError, match="no image"):
        evaluate(bound, [])
    with pytest.raises(InputError, match=r"region is float32 \(2, 12, 16\); wanted bool"):
        evaluate(bound, [(images, target, region.float())])
    with pytest.raises(InputError, match=r"wanted bool \(2, 12, 16\)"):
        evaluate(bound, [(images, target, region[:, :5])])
    with pytest.raises(InputError, match="one class an image"):
        evaluate(bound, [(images, target[:1], region)])
