"""A perfect map scores the optimum and a random map what theory says,
on models whose curves are known."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

import camport
from camport import Case
from camport.adapters import FunctionAdapter
from camport.errors import InputError
from camport.metrics import (
    ROAD,
    AverageDrop,
    AverageGain,
    Completeness,
    Deletion,
    EnergyInRegion,
    Entropy,
    IncreaseInConfidence,
    Infidelity,
    Insertion,
    InsertionDeletion,
    MaxSensitivity,
    PointingGame,
    Sparsity,
    region_of_boxes,
    region_of_coco,
)
from camport.metrics.imputation import imputed

SIZE = (20, 20)
REGION = torch.zeros(SIZE, dtype=torch.bool)
REGION[5:15, 4:12] = True  # a fifth of the pixels
SHARE = 0.2


class MeanInRegion(nn.Module):
    """The score is the mean of the pixels in the region: 1 for white images."""

    def forward(self, x):
        return (x.mean(1) * REGION).sum((1, 2))[:, None] / REGION.sum()


def mean_in_region(outputs):
    return outputs[:, 0]


def random_map(seed=0):
    order = torch.randperm(REGION.numel(), generator=torch.Generator().manual_seed(seed))
    return order.reshape(SIZE).double() / REGION.numel()


def case(heatmap, x=None):
    x = torch.ones(1, 3, *SIZE, dtype=torch.float64) if x is None else x
    bound = camport.bind(MeanInRegion().eval(), "saliency", adapter=FunctionAdapter(mean_in_region))
    heatmap = heatmap.expand(x.shape[0], *SIZE)
    return Case.of(bound, x, region=REGION.expand(x.shape[0], *SIZE), heatmap=heatmap)


PERFECT = REGION.double()


def test_curves_of_a_perfect_map():
    """The score rises to 1 as the region's share of pixels comes in, and stays;
    the area is 1 - share / 2."""
    perfect = case(PERFECT)
    rise = torch.linspace(0, 1, 101, dtype=torch.float64).div(SHARE).clamp(max=1)[None]
    torch.testing.assert_close(Insertion(baseline=0.0).curves(perfect)["insertion"], rise)
    torch.testing.assert_close(Deletion().curves(perfect)["deletion"], 1 - rise)
    assert float(Insertion(baseline=0.0).measure(perfect)) == pytest.approx(1 - SHARE / 2)
    assert float(Deletion().measure(perfect)) == pytest.approx(SHARE / 2)
    worst = case(1 - PERFECT)
    assert float(Insertion(baseline=0.0).measure(worst)) == pytest.approx(SHARE / 2)
    assert float(Deletion().measure(worst)) == pytest.approx(1 - SHARE / 2)


def test_no_map_is_better_than_the_perfect_one():
    best = float(Insertion(baseline=0.0).measure(case(PERFECT)))
    bright = PERFECT.expand(1, 3, *SIZE)  # a white region on black, which imputation darkens
    road = float(ROAD().measure(case(PERFECT, bright)))
    for seed in range(3):
        assert float(Insertion(baseline=0.0).measure(case(random_map(seed)))) < best
        assert float(ROAD().measure(case(random_map(seed), bright))) < road


def test_a_random_map_has_half():
    """Of each share of pixels a random map finds that share of the region,
    give or take the spread of sampling."""
    found = torch.cat(
        [Insertion(baseline=0.0).measure(case(random_map(seed))) for seed in range(20)]
    )
    assert abs(float(found.mean()) - 0.5) < 4 * float(found.std()) / math.sqrt(20)
    assert float(found.std()) < 0.05
    for seed in range(3):  # a linear model loses what it has not been given
        both = InsertionDeletion(steps=50).curves(case(random_map(seed)))
        dark = Insertion(50, 0.0).curves(case(random_map(seed)))["insertion"]
        torch.testing.assert_close(dark + both["deletion"], torch.ones_like(dark))


def test_insertion_minus_deletion_is_their_difference_and_runs_nothing_twice():
    measured = case(random_map())
    insertion, deletion = (
        Insertion(steps=10).measure(measured),
        Deletion(steps=10).measure(measured),
    )
    calls = []
    measured.scores._double.register_forward_hook(lambda *_: calls.append(1))
    found, curves = InsertionDeletion(steps=10).measured(measured)
    assert not calls
    torch.testing.assert_close(found, insertion - deletion)
    assert list(curves) == ["insertion", "deletion"]
    assert curves["insertion"].shape == (1, 11)


@pytest.mark.parametrize(("preset", "points"), [("percent", 101), ("rise", 225), ("group-cam", 29)])
def test_presets(preset, points):
    measured = case(random_map())
    assert Insertion(preset=preset).curves(measured)["insertion"].shape == (1, points)
    assert Deletion(preset=preset).curves(measured)["deletion"].shape == (1, points)
    # white stays white under a blur with mirrored edges, and darkens under that of RISE's authors
    first = float(Insertion(preset=preset).curves(measured)["insertion"][0, 0])
    assert (first == pytest.approx(1)) is (preset != "rise")


def test_options_that_are_wrong_are_refused():
    # not by the constructors, whose types the tests' type checker checks first
    with pytest.raises(
        InputError, match=r"preset is 'paper'; it is one of percent, rise, group-cam"
    ):
        Insertion.__post_init__(SimpleNamespace(preset="paper"))
    with pytest.raises(InputError, match="preset is 'loose'"):
        PointingGame.__post_init__(SimpleNamespace(preset="loose"))
    with pytest.raises(InputError, match="steps is 0"):
        InsertionDeletion(steps=0)
    with pytest.raises(InputError, match="baseline is 'black'"):
        Deletion.__post_init__(SimpleNamespace(preset="rise", steps=None, baseline="black"))
    with pytest.raises(InputError, match="baseline has 2 values, the images 3 channels"):
        Deletion(baseline=(0.0, 1.0)).measure(case(PERFECT))
    with pytest.raises(InputError, match=r"shares are \(1\.0,\)"):
        ROAD(shares=(1.0,))


def test_seen_through_the_map():
    """The perfect map loses nothing; a constant one loses what it hides;
    what the model lacks may be gained."""
    assert float(AverageDrop().measure(case(PERFECT))) == 0
    assert float(
        AverageDrop().measure(case(torch.full(SIZE, 0.25, dtype=torch.float64)))
    ) == pytest.approx(0.75)
    dark = torch.where(REGION, 0.5, -1.0).expand(1, 3, *SIZE).double()
    measured = case(2 * PERFECT, dark)  # a map that doubles what is in the region
    assert float(AverageGain().measure(measured)) == pytest.approx((1.0 - 0.5) / (1 - 0.5))
    assert float(IncreaseInConfidence().measure(measured)) == 1
    assert float(AverageDrop().measure(measured)) == 0
    assert float(IncreaseInConfidence().measure(case(PERFECT))) == 0  # as much is no more


def test_imputation_of_a_ramp_is_the_ramp():
    """Interior pixels of a linear image are the means of their neighbours:
    nothing is lost by any map."""
    ramp = (torch.arange(20.0)[:, None] + 2 * torch.arange(20.0)).expand(1, 3, *SIZE).double()
    measured = case(PERFECT, ramp)
    curve = ROAD(shares=(0.1, 0.2), noise=0.0).curves(measured)["morf"]
    clean = float(measured.scores.probability)
    torch.testing.assert_close(curve, torch.full_like(curve, clean), rtol=1e-8, atol=1e-8)


def test_what_predicts_the_score_has_no_infidelity():
    """The score is a sum over pixels: their parts of it predict every loss, in any unit."""
    x = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = x.mean(1) * REGION / REGION.sum()
    measured = case(parts, x)
    assert float(Infidelity(scaled=False).measure(measured).max()) < 1e-20
    assert float(Infidelity().measure(case(1000 * parts, x)).max()) < 1e-20
    assert float(Completeness().measure(measured).max()) < 1e-9
    silent = case(torch.zeros(SIZE, dtype=torch.float64), x)
    assert Infidelity(relative=True).measure(silent).tolist() == [1.0, 1.0]
    assert Completeness().measure(silent).tolist() == [1.0, 1.0]
    other = case(random_map(), x)
    assert float(Infidelity(relative=True).measure(other).min()) > 0.1


def test_sparsity_and_entropy_of_known_maps():
    one, flat = torch.zeros(1, 10, 10), torch.full((1, 10, 10), 0.3)
    one[0, 3, 4] = 7.0
    half = torch.zeros(1, 10, 10)
    half[0, :5] = 2.0
    maps = torch.cat([one, half, flat, torch.zeros_like(flat)])
    assert Sparsity()(maps).tolist() == pytest.approx([0.99, 0.5, 0, 0], abs=1e-9)
    assert Entropy()(maps).tolist() == pytest.approx(
        [0, math.log(50), math.log(100), math.log(100)], abs=1e-9
    )


class Edge(nn.Module):
    """Class 0 where the first pixel is bright."""

    def forward(self, x):
        return torch.stack([x[:, 0, 0, 0], -x[:, 0, 0, 0]], 1)


def test_a_map_that_does_not_look_has_no_sensitivity():
    x = torch.rand(2, 3, *SIZE, dtype=torch.float64)
    # a gradient that is the same everywhere
    saliency = Case.of(camport.bind(Edge().eval(), "saliency"), x, 0)
    assert MaxSensitivity(samples=3).measure(saliency).tolist() == [0, 0]
    assert MaxSensitivity(samples=3, of="raw").measure(saliency).tolist() == [0, 0]
    times = camport.bind(Edge().eval(), "integrated_gradients")  # the pixel's own value
    x = torch.ones(1, 3, *SIZE, dtype=torch.float64)
    changes = [abs(float(MaxSensitivity(seed=2).near(x, i)[0, 0, 0, 0]) - 1) for i in range(3)]
    assert 0 < max(changes) < 0.02
    found = MaxSensitivity(samples=3, of="raw", seed=2).measure(Case.of(times, x, 0))
    assert found.tolist() == pytest.approx([max(changes)], rel=1e-6)


def test_the_papers_pointing_game_forgives_less_than_15_pixels_in_a_straight_line():
    region = torch.zeros(4, 60, 60, dtype=torch.bool)
    region[:, 30, 30] = True
    maps = torch.zeros(4, 60, 60)
    # 14, 15, 14.1 and 15.6 away
    maps[0, 30, 16] = maps[1, 30, 15] = maps[2, 40, 40] = maps[3, 41, 41] = 1.0
    assert PointingGame(preset="paper")(maps, region).tolist() == [1, 0, 1, 0]
    assert PointingGame()(maps, region).tolist() == [0, 0, 0, 0]
    assert PointingGame(margin=15)(maps, region).tolist() == [1, 1, 1, 1]
    assert PointingGame(preset="paper")(torch.zeros(4, 60, 60), ~region).tolist() == [0, 0, 0, 0]


def test_boxes_are_regions():
    found = region_of_boxes([[[1, 2, 3, 5], [0, 0, 1, 1]], [[0.4, 0.6, 2, 2]]], (6, 4))
    wanted = torch.zeros(2, 6, 4, dtype=torch.bool)
    wanted[0, 2:5, 1:3] = wanted[0, 0, 0] = True
    wanted[1, 1, 0:2] = True  # a pixel counts by its centre
    assert torch.equal(found, wanted)
    assert torch.equal(
        region_of_boxes(torch.tensor([[1.0, 2, 3, 5]]), (6, 4))[0, 2:5, 1:3], torch.ones(3, 2) > 0
    )
    with pytest.raises(InputError, match="wanted left < right and top < bottom"):
        region_of_boxes([[3, 0, 1, 1]], (6, 4))
    measured = EnergyInRegion()(found.float(), found)
    assert measured.tolist() == [1, 1]


# pycocotools' own
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_coco_annotations_are_regions():
    mask = pytest.importorskip("pycocotools.mask", reason="pip install pycocotools")
    drawn = torch.zeros(8, 9, dtype=torch.uint8)
    drawn[1:4, 2:5] = 1
    packed = mask.encode(drawn.T.contiguous().numpy().T)
    notes = [
        {"category_id": 3, "segmentation": packed},
        {"category_id": 3, "segmentation": [[6.0, 5.0, 9.0, 5.0, 9.0, 8.0, 6.0, 8.0]]},
        {"category_id": 4, "segmentation": [[0.0, 0.0, 9.0, 0.0, 9.0, 8.0, 0.0, 8.0]]},
    ]
    found = region_of_coco(notes, 3, (8, 9))
    wanted = drawn.bool()
    wanted[5:8, 6:9] = True
    assert torch.equal(found, wanted)
    with pytest.raises(InputError, match="no annotation has category_id 9"):
        region_of_coco(notes, 9, (8, 9))


@pytest.mark.parametrize("share", [0.5, 0.99])
def test_imputation_solves_its_equations_on_images_of_any_size(share):
    """Black images, images with one bright pixel, and many holes at once,
    each to 1e-8 of an exact solution's."""
    generator = torch.Generator().manual_seed(4)
    images = torch.rand(4, 3, 37, 64, generator=generator, dtype=torch.float64)
    images[1], images[2] = 0, 5.0
    images[3] = 0
    images[3, :, 10, 10] = 1e6
    missing = torch.rand(4, 1, 37, 64, generator=generator) < share
    missing[:, :, 10, 10] = False
    filled = imputed(images, missing, 0.0, 0)
    weights = torch.tensor([[1, 2, 1], [2, 0, 2], [1, 2, 1]], dtype=torch.float64)[None, None] / 12
    near = torch.nn.functional.conv2d(filled.flatten(0, 1)[:, None], weights, padding=1)[
        :, 0
    ].unflatten(0, (4, 3))
    total = torch.nn.functional.conv2d(torch.ones(1, 1, 37, 64).double(), weights, padding=1)[0]
    left = torch.where(missing, filled - near / total, 0).abs().amax((1, 2, 3))
    assert (left <= 1e-8 * images.abs().amax((1, 2, 3))).all()
    assert torch.equal(filled[2], images[2]) or float((filled[2] - 5).abs().max()) < 1e-7
