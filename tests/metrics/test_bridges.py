"""Quantus' explanation functions and torchmetrics' streams, without either package."""

import subprocess
import sys

import pytest
import torch

import camport
from camport import Case
from camport.errors import InputError
from camport.metrics import Insertion, PointingGame
from camport.metrics.quantus import explain_func
from camport.metrics.running import Running
from tests.nets import Net, images, seeded

X = images(3)


def test_a_stream_has_the_mean_over_all_maps():
    g = torch.Generator().manual_seed(0)
    heat, region = torch.rand(5, 14, 18, generator=g), torch.rand(5, 14, 18, generator=g) < 0.4
    running = Running("energy_in_region")
    with pytest.raises(InputError, match="energy_in_region has measured nothing yet"):
        running.compute()
    running.update(heat[:2], region[:2])
    alone = running(heat[2:], region[2:])
    each = (heat * region).sum((1, 2)) / heat.sum((1, 2))
    torch.testing.assert_close(running.compute(), each.double().mean(), rtol=1e-6, atol=0)
    torch.testing.assert_close(running.values, each.double(), rtol=1e-6, atol=0)
    torch.testing.assert_close(alone, each[2:].double().mean(), rtol=1e-6, atol=0)
    running.reset()
    running.update(heat[:1], region[:1])
    assert float(running.compute()) == pytest.approx(float(each[0]))
    assert running.higher_is_better
    assert not Running("deletion").higher_is_better
    assert Running(PointingGame).metric == Running(PointingGame()).metric == PointingGame()


def test_a_stream_of_cases():
    bound = camport.bind(seeded(Net()), "hirescam", "features")
    cases = [Case.of(bound, X[:1], 1), Case.of(bound, X[1:], 1)]
    running = Running(Insertion(steps=5))
    for case in cases:
        running.update(case)
    wanted = Insertion(steps=5).measure(Case.of(bound, X, 1)).double()
    torch.testing.assert_close(running.values, wanted)


@pytest.mark.parametrize("of_arrays", [True, False])
def test_quantus_gets_the_maps(of_arrays):
    model, target = seeded(Net()), torch.tensor([1, 3, 0])
    x, y = (X.numpy(), target.numpy()) if of_arrays else (X, target)
    options = {"method": "hirescam", "layer": "features", "device": "cpu", "normalise": True}
    wanted = camport.explain(model, X, "hirescam", target, "features")
    found = explain_func(model, x, y, **options)
    assert found.shape == (3, 1, 14, 18)
    torch.testing.assert_close(torch.from_numpy(found[:, 0]), wanted.heatmap)
    raw = explain_func(model, x, y, **options, of="raw")
    laid = torch.nn.functional.interpolate(wanted.raw[:, None], (14, 18), mode="bilinear")
    torch.testing.assert_close(torch.from_numpy(raw), laid)


def test_neither_package_is_imported():
    code = (
        "import sys, camport.metrics, camport.metrics.quantus, camport.metrics.running;print([m for"
        " m in ('quantus', 'torchmetrics', 'scipy', 'skimage', 'pycocotools') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
