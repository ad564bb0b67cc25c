import torch

from camport.core.maps.noise import normal, uniform


def test_a_row_depends_on_seed_and_number_alone():
    rows = uniform(3, torch.tensor([5, 0, 7]), 40)
    assert torch.equal(rows[2:], uniform(3, torch.tensor([7]), 40))
    assert not torch.equal(rows[0], rows[1])
    assert not torch.equal(rows, uniform(4, torch.tensor([5, 0, 7]), 40))


def test_uniform_numbers_are_uniform_and_uncorrelated():
    u = uniform(0, torch.arange(20), 20_000)
    assert u.min() > 0
    assert u.max() < 1
    shares = torch.histc(u, 16, 0, 1) / u.numel()
    assert (shares - 1 / 16).abs().max() < 2e-3  # 5 standard deviations
    between = torch.corrcoef(u) - torch.eye(20)
    assert between.abs().max() < 5 / 20_000**0.5
    centred = (u - 0.5).flatten() * 12**0.5
    for lag in (1, 2, 224, 20_000):
        assert (centred[lag:] * centred[:-lag]).mean().abs() < 5 / centred.numel() ** 0.5


def test_normal_numbers_have_the_moments_of_a_normal_distribution():
    n = normal(1, torch.arange(20), 20_000)
    for power, wanted in ((1, 0.0), (2, 1.0), (3, 0.0), (4, 3.0)):
        assert (
            abs((n**power).mean() - wanted) < 0.1
            if power > 2
            else abs((n**power).mean() - wanted) < 0.01
        )
