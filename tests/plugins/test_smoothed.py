"""Smoothing around any method: each noisy copy explained by itself, by the method's own code."""

import pytest
import torch

import camport
from camport.errors import InputError, ReluRuleWarning
from camport.plugins import (
    RISE,
    EigenCAM,
    GradCAM,
    GuidedBackprop,
    IntegratedGradients,
    LayerCAM,
    Smoothed,
)
from camport.plugins.smoothgrad import noisy
from tests.nets import Net, images, seeded

X, TARGET = images(2, (9, 8)), torch.tensor([0, 3])
METHODS = (
    LayerCAM(),
    GradCAM(),
    EigenCAM(),
    GuidedBackprop(),
    IntegratedGradients(steps=3),
    RISE(samples=6, cells=3),
)


def copies(model, method, samples, noise, seed):
    """The method's maps of noisy copies, one call each."""
    drawn = noisy(X, torch.arange(samples), noise, seed)
    return torch.stack([camport.explain(model, x, method, TARGET, "features").raw for x in drawn])


@pytest.mark.parametrize("method", METHODS, ids=lambda m: m.name)
def test_the_mean_of_the_methods_maps(method):
    model = seeded(Net())
    e = camport.explain(
        model, X, Smoothed(method, samples=3, noise=0.2, seed=5), TARGET, "features", chunk=4
    )
    wanted = copies(model, method, 3, 0.2, 5).mean(0)
    torch.testing.assert_close(e.raw, wanted, rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(e.score, model(X)[torch.arange(2), TARGET].detach())


@pytest.mark.parametrize(
    ("form", "of"),
    [("squared", lambda m: (m**2).mean(0)), ("variance", lambda m: m.var(0, correction=0))],
)
def test_forms(form, of):
    model = seeded(Net())
    e = camport.explain(model, X, Smoothed(LayerCAM(), 4, 0.1, form), TARGET, "features")
    torch.testing.assert_close(
        e.raw, of(copies(model, LayerCAM(), 4, 0.1, 0)), rtol=1e-6, atol=1e-9
    )


def test_without_noise_it_is_the_method():
    model = seeded(Net())
    e = camport.explain(model, X, Smoothed(LayerCAM(), 2, 0.0), TARGET, "features")
    torch.testing.assert_close(e.raw, camport.explain(model, X, LayerCAM(), TARGET, "features").raw)


def test_options_name_the_method():
    options = Smoothed(GradCAM("mean"), samples=3).options()
    assert options["method"] == {"name": "gradcam", "options": {"fusion": "mean"}}


def test_a_rule_that_meets_no_relu_is_told():
    model = seeded(
        torch.nn.Sequential(
            torch.nn.Conv2d(3, 4, 3),
            torch.nn.Tanh(),
            torch.nn.AdaptiveAvgPool2d(1),
            torch.nn.Flatten(),
        )
    )
    with pytest.warns(ReluRuleWarning):
        camport.explain(model, X, Smoothed(GuidedBackprop(), samples=2), 1)


@pytest.mark.parametrize(
    "bad", [{"samples": 0}, {"noise": -1.0}, {"samples": 1, "form": "variance"}]
)
def test_numbers_that_make_no_mean_are_refused(bad):
    with pytest.raises(InputError, match="samples with noise"):
        Smoothed(**bad)
