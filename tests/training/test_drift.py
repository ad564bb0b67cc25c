"""How far maps moved between two looks: the right number,
and that it falls as training converges."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import camport
from camport.errors import InputError
from camport.testing.fingerprint import changes, fingerprint
from camport.training import ExplanationDrift
from camport.training.drift import ranks, similarity
from tests import nets

LABELS = torch.tensor([1, 0, 3])


def spearman(a, b):
    """By counting pairs: a value's rank is how many are below it and half of those that are
    equal."""

    def rank(values):
        return [sum(v < u for v in values) + sum(v == u for v in values) / 2 for u in values]

    x, y = rank(a), rank(b)
    n, mx, my = len(x), sum(x) / len(x), sum(y) / len(y)
    above = sum((x[i] - mx) * (y[i] - my) for i in range(n))
    return above / (sum((v - mx) ** 2 for v in x) * sum((v - my) ** 2 for v in y)) ** 0.5


def test_spearman_with_ties_by_counting():
    g = torch.Generator().manual_seed(0)
    one, other = (torch.randint(6, (4, 3, 5), generator=g).double() for _ in range(2))
    found = similarity(one, other, "spearman")
    right = [
        spearman(a.flatten().tolist(), b.flatten().tolist())
        for a, b in zip(one, other, strict=True)
    ]
    np.testing.assert_allclose(found, right, rtol=0, atol=1e-12)
    assert ranks(torch.tensor([[3.0, 1.0, 3.0, 2.0]])).tolist() == [[2.5, 0.0, 2.5, 1.0]]


def test_a_map_without_contrast():
    ramp, flat = torch.arange(6.0).double().reshape(1, 2, 3), torch.full((1, 2, 3), 7.0).double()
    assert [
        float(similarity(a, b, "spearman")) for a, b in itertools.product((ramp, flat), repeat=2)
    ] == pytest.approx([1, 0, 0, 1])
    assert float(similarity(ramp, -ramp, "spearman")) == pytest.approx(-1)
    assert float(similarity(ramp, 0 * ramp, "cosine")) == 0
    assert float(similarity(0 * ramp, 0 * ramp, "cosine")) == 1


@pytest.mark.parametrize("kind", ["spearman", "cosine"])
def test_the_drift_is_one_less_the_similarity_of_two_looks(kind):
    model, images = nets.seeded(nets.Net()), nets.images()
    bound = camport.bind(model, "layercam", "features")
    drift = ExplanationDrift(bound, images, LABELS, kind)
    before = bound(images, LABELS).raw
    assert drift() is None
    assert drift() == pytest.approx(0, abs=1e-12)
    with torch.no_grad():
        model.features[3].weight.add_(
            0.2 * torch.randn(model.features[3].weight.shape, dtype=torch.float64)
        )
    after = bound(images, LABELS).raw
    if kind == "spearman":
        right = [
            1 - spearman(a.flatten().tolist(), b.flatten().tolist())
            for a, b in zip(before, after, strict=True)
        ]
    else:
        right = [
            1 - float((a * b).sum() / (a.norm() * b.norm()))
            for a, b in zip(before, after, strict=True)
        ]
    assert drift() == pytest.approx(np.mean(right), abs=1e-6)
    np.testing.assert_allclose(drift.drifts[1], right, rtol=0, atol=1e-6)
    assert min(right) > 1e-3
    assert drift.means == pytest.approx([0, np.mean(right)], abs=1e-6)


def test_it_falls_while_a_network_converges_and_leaves_it_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(1)
    )
    model.append(nn.Flatten()).append(nn.Linear(8, 2)).train()
    labels = torch.arange(64) % 2
    images = 0.3 * torch.randn(64, 1, 8, 8)
    images[labels == 1, :, 2:5, 2:5] += 2.0  # a bright square
    images[labels == 0, :, 4] += 2.0  # or a line
    drift = ExplanationDrift(camport.bind(model, "gradcam", "2"), images[:8], labels[:8])
    optimiser = torch.optim.SGD(model.parameters(), lr=0.5)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimiser, 0.7)
    for _ in range(25):
        nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()
        optimiser.zero_grad()
        schedule.step()
        before, state = fingerprint(model), torch.get_rng_state()
        drift()
        assert not list(changes(before, fingerprint(model)))
        assert torch.equal(torch.get_rng_state(), state)
    assert len(drift.means) == 24
    assert np.mean(drift.means[-8:]) < 0.5 * np.mean(drift.means[:8])


def test_another_similarity_is_refused():
    with pytest.raises(InputError, match="similarity is 'ssim'; it is one of spearman, cosine"):
        ExplanationDrift(
            camport.bind(nets.seeded(nets.Net()), layer="features"),
            nets.images(),
            similarity="ssim",
        )
