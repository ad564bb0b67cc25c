import math

import numpy as np
import pytest
import torch
from torch import nn

import camport
from camport.errors import InputError, LayerError
from camport.metrics.sanity import compare_models, measure_statistics, randomised, sanity_check
from camport.metrics.similarity import hog, spearman, ssim
from camport.testing.fingerprint import changes, fingerprint
from tests.nets import GapNet, Net, images, seeded

skimage = pytest.importorskip("skimage", reason='pip install "camport[metrics]"')
X = images(2, (24, 26))
STAGES = ["fc", "features.2", "features.0"]


def different(a: nn.Module, b: nn.Module) -> set[str]:
    """Names of modules whose parameters differ."""
    other = dict(b.named_parameters())
    return {
        name.rpartition(".")[0]
        for name, p in a.named_parameters()
        if not torch.equal(p, other[name])
    }


def test_stages_are_drawn_one_beside_the_other_or_alone():
    model = seeded(GapNet())
    stages = [[name] for name in STAGES]
    cascade = [different(m, model) for m in randomised(model, stages, "cascading", None, 0)]
    assert cascade == [{"fc"}, {"fc", "features.2"}, {"fc", "features.2", "features.0"}]
    alone = [different(m, model) for m in randomised(model, stages, "independent", None, 0)]
    assert alone == [{"fc"}, {"features.2"}, {"features.0"}]


def test_parameters_are_drawn_as_pytorch_draws_them():
    model = nn.Sequential(nn.Conv2d(8, 64, 3), nn.BatchNorm2d(64), nn.Linear(500, 300))
    (drawn,) = randomised(seeded(model), [["0", "1", "2"]], "cascading", None, 3)
    for layer, fan in ((drawn[0], 72), (drawn[2], 500)):
        limit = 1 / math.sqrt(fan)  # what nn.Conv2d and nn.Linear document
        assert 0.99 * limit < float(layer.weight.detach().abs().max()) <= limit
        assert float(layer.weight.detach().std()) == pytest.approx(limit / math.sqrt(3), rel=0.02)
        assert 0.9 * limit < float(layer.bias.detach().abs().max()) <= limit
    assert bool((drawn[1].weight == 1).all())
    assert bool((drawn[1].bias == 0).all())


def test_statistics_are_those_of_the_images():
    model = seeded(Net())
    measure_statistics(model, X)
    seen = model.features[0](X)
    torch.testing.assert_close(model.features[1].running_mean, seen.mean((0, 2, 3)).detach())
    torch.testing.assert_close(model.features[1].running_var, seen.var((0, 2, 3)).detach())
    assert not any(module.training for module in model.modules())
    assert model.features[1].momentum == 0.1


def test_a_map_notices_what_it_reads_and_nothing_else():
    """Feature maps do not read the classifier behind them; Grad-CAM does."""
    model = seeded(GapNet())
    maps = camport.bind(model, "feature_maps", "features")
    found = sanity_check(maps, X, 1, stages=STAGES)
    assert found.stages == ("fc", "features.2", "features.0")
    for name, least in (("spearman", -1), ("ssim", -1), ("hog", -1)):
        assert found.curves[name].shape == (2, 3)
        torch.testing.assert_close(found.curves[name][:, 0], torch.ones(2, dtype=torch.float64))
        assert bool((found.curves[name][:, 1:] < 0.9).all())
        assert bool((found.curves[name] >= least).all())
    alone = sanity_check(
        maps, X, 1, order="independent", stages=["features.0", "fc"], similarities=["spearman"]
    )
    assert list(alone.curves) == ["spearman"]
    assert bool((alone.curves["spearman"][:, 0] < 0.99).all())
    assert alone.curves["spearman"][:, 1].tolist() == pytest.approx([1, 1])
    read = sanity_check(
        camport.bind(model, "xgradcam", "features"), X, 1, stages=["fc"], similarities=["spearman"]
    )
    assert bool((read.curves["spearman"] < 0.99).all())


def test_all_layers_from_the_last_one_and_nothing_of_the_users_changes():
    model = seeded(Net())
    before = fingerprint(model, x=X)
    found = sanity_check(
        camport.bind(model, "saliency"), X, similarities=["spearman"], statistics=X
    )
    assert found.stages == ("head.5", "head.1", "features.3", "features.1", "features.0")
    assert not sorted(changes(before, fingerprint(model, x=X)))
    again = sanity_check(
        camport.bind(model, "saliency"), X, similarities=["spearman"], statistics=X
    )
    assert torch.equal(found.curves["spearman"], again.curves["spearman"])
    other = sanity_check(
        camport.bind(model, "saliency"), X, similarities=["spearman"], statistics=X, seed=1
    )
    assert not torch.equal(found.curves["spearman"], other.curves["spearman"])


def test_two_models_are_compared_for_the_first_ones_class():
    first, second = seeded(GapNet()), seeded(GapNet(), seed=4)
    bounds = [camport.bind(m, "xgradcam", "features") for m in (first, second)]
    same = compare_models(bounds[0], bounds[0], X)
    assert all(value.tolist() == pytest.approx([1, 1]) for value in same.values())
    found = compare_models(*bounds, X, similarities=["spearman"])["spearman"]
    top = first(X).argmax(1)
    wanted = spearman(bounds[0](X, top).heatmap, bounds[1](X, top).heatmap)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)


def test_similarities_are_those_of_scipy_and_scikit_image():
    stats = pytest.importorskip("scipy.stats")
    from skimage.feature import hog as features
    from skimage.metrics import structural_similarity

    g = torch.Generator().manual_seed(0)
    # with ties
    a, b = torch.rand(2, 48, 50, generator=g), (torch.rand(2, 48, 50, generator=g) * 8).floor() / 8
    for i in range(2):
        x, y = a[i].double().numpy(), b[i].double().numpy()
        assert float(spearman(a, b)[i]) == pytest.approx(
            stats.spearmanr(x.ravel(), y.ravel()).statistic, abs=1e-12
        )
        assert float(ssim(a, b)[i]) == pytest.approx(
            structural_similarity(x, y, data_range=1.0), abs=1e-12
        )
        histograms = [features(v, pixels_per_cell=(16, 16)) for v in (x, y)]
        assert float(hog(a, b)[i]) == pytest.approx(np.corrcoef(*histograms)[0, 1], abs=1e-9)
    flat = torch.zeros(2, 48, 50)
    assert spearman(a, flat).tolist() == hog(a, flat).tolist() == [0, 0]
    assert ssim(a[:, :5, :6], a[:, :5, :6]).tolist() == pytest.approx([1, 1])


def test_what_there_is_not_is_refused():
    bound = camport.bind(seeded(GapNet()), "saliency")
    with pytest.raises(LayerError, match=r"stage 'features\.9' is no module of GapNet; there is: "):
        sanity_check(bound, X, stages=["features.9"])
    with pytest.raises(
        InputError, match="wanted cascading or independent, and of spearman, ssim, hog"
    ):
        sanity_check(bound, X, similarities=["pearson"])
