"""Differential tests against torchcam, grad-cam, captum and scipy,
each on the very maps and images."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import camport
from camport import Case
from camport.core.maps.baseline import blur
from camport.metrics import (
    ROAD,
    AverageDrop,
    Completeness,
    Deletion,
    IncreaseInConfidence,
    Infidelity,
    Insertion,
    MaxSensitivity,
)
from camport.metrics.causal import rise_blur
from tests.nets import GapNet, Net, images, seeded

torchcam = pytest.importorskip("torchcam.metrics", reason='pip install "camport[oracles]"')
grad_cam = pytest.importorskip("pytorch_grad_cam.metrics.road")
captum = pytest.importorskip("captum.metrics")

pytestmark = pytest.mark.filterwarnings("ignore")
X, TARGET = images(2, (10, 10), torch.float32), torch.tensor([1, 3])


def maps(size=(10, 10)):
    """Each value once."""
    generator = torch.Generator().manual_seed(6)
    return torch.stack(
        [torch.randperm(size[0] * size[1], generator=generator) for _ in range(2)]
    ).reshape(2, *size) / (size[0] * size[1])


@pytest.fixture(scope="module")
def case():
    bound = camport.bind(seeded(Net(), dtype=torch.float32), "hirescam", "features")
    return Case.of(bound, X, TARGET, heatmap=maps())


class Extractor:
    """As torchcam's metrics see a method: it gives the maps that are measured."""

    def __init__(self, model):
        self.model = model

    def __call__(self, *args, **kwargs):
        return [maps()]

    def fuse_cams(self, cams):
        return cams[0]

    def _hooks_off(self):
        return torch.no_grad()


def test_torchcams_drop_and_increase(case):
    theirs = torchcam.ClassificationMetric(
        Extractor(case.scores._double), partial(torch.softmax, dim=-1)
    )
    theirs.update(X, TARGET.tolist())
    assert float(AverageDrop().measure(case).mean()) == pytest.approx(
        theirs.summary()["avg_drop"], abs=1e-6
    )
    found = float(IncreaseInConfidence().measure(case).mean())
    assert found == theirs.summary()["conf_increase"]


def test_torchcams_insertion_and_deletion(case):
    theirs = torchcam.DeletionInsertionMetric(
        Extractor(case.scores._double),
        partial(torch.softmax, dim=-1),
        steps=20,
        baseline=lambda x: blur(x, 51, 50.0),
    )
    theirs.update(X, TARGET.tolist())
    found = theirs.summary()
    assert float(Insertion(steps=20).measure(case).mean()) == pytest.approx(
        found["insertion_auc"], abs=1e-6
    )
    deleted = Deletion(steps=20, baseline="blurred").measure(case)
    assert float(deleted.mean()) == pytest.approx(found["deletion_auc"], abs=1e-6)


def probability(c):
    return lambda outputs: outputs.softmax(0)[c]


def test_grad_cams_road(case, monkeypatch):
    monkeypatch.setattr(
        grad_cam.NoisyLinearImputer.__init__, "__defaults__", (0.0, grad_cam.neighbors_weights)
    )
    targets = [probability(int(c)) for c in TARGET]
    theirs = grad_cam.ROADCombined()(X, maps().numpy(), targets, case.scores._double)
    torch.testing.assert_close(
        ROAD(noise=0.0).measure(case), torch.from_numpy(theirs), rtol=1e-5, atol=1e-6
    )


def test_grad_cams_drop_and_increase(case):
    from pytorch_grad_cam.metrics.cam_mult_image import DropInConfidence
    from pytorch_grad_cam.metrics.cam_mult_image import IncreaseInConfidence as Theirs

    targets = [probability(int(c)) for c in TARGET]
    drop = torch.from_numpy(DropInConfidence()(X, maps().numpy(), targets, case.scores._double))
    torch.testing.assert_close(
        AverageDrop().measure(case), drop / case.scores.probability, rtol=1e-5, atol=1e-6
    )
    increase = torch.from_numpy(Theirs()(X, maps().numpy(), targets, case.scores._double))
    assert torch.equal(IncreaseInConfidence().measure(case), increase)


@pytest.mark.parametrize("scaled", [True, False])
def test_captums_infidelity(scaled):
    model, x = seeded(GapNet()), images(2, (10, 10))
    case = Case.of(camport.bind(model, "integrated_gradients"), x, TARGET)
    metric = Infidelity(samples=30, scaled=scaled)
    squares = metric.squares(torch.arange(30), x)
    raw = case.explanation.raw

    def perturb(inputs):
        """One channel of the perturbation carries the square, since the map has no channels."""
        each = squares.repeat(2, 1, 1)[:, None]
        change = torch.cat([each, torch.zeros_like(each), torch.zeros_like(each)], 1)
        return change, torch.where(each > 0, 0, inputs)

    spread = torch.stack([raw, torch.zeros_like(raw), torch.zeros_like(raw)], 1)
    theirs = captum.infidelity(
        model, perturb, x, spread, target=TARGET, n_perturb_samples=30, normalize=scaled
    )
    torch.testing.assert_close(metric.measure(case), theirs.detach().double(), rtol=1e-6, atol=1e-9)


def test_captums_max_sensitivity():
    model, x = seeded(Net()), images(2)
    bound = camport.bind(model, "hirescam", "features")
    case = Case.of(bound, x, TARGET)
    metric = MaxSensitivity(samples=4)
    drawn = torch.stack([metric.near(x, i) - x for i in range(4)], 1)  # [b,n,c,H,W]

    def perturb(inputs, radius):
        return inputs + drawn.flatten(0, 1)

    def explain(inputs):
        """Captum walks over tuples: a bare tensor of the clean images' maps it would take for
        several."""
        (batch,) = inputs if isinstance(inputs, tuple) else (inputs,)
        with torch.enable_grad():
            return (bound(batch, TARGET.repeat_interleave(len(batch) // 2)).heatmap,)

    theirs = captum.sensitivity_max(explain, x, perturb, n_perturb_samples=4)
    torch.testing.assert_close(metric.measure(case), theirs.double(), rtol=1e-5, atol=1e-7)


def test_integrated_gradients_are_complete():
    """captum's own delta is what our map misses."""
    from captum.attr import IntegratedGradients

    model, x = seeded(Net()), images(2)
    for steps in (3, 50):
        method = camport.plugins.IntegratedGradients(steps=steps)
        case = Case.of(camport.bind(model, method), x, TARGET)
        _, delta = IntegratedGradients(model).attribute(
            x, target=TARGET, n_steps=steps, return_convergence_delta=True
        )
        at = torch.arange(2)
        wanted = (model(x) - model(torch.zeros_like(x)))[at, TARGET].detach()
        torch.testing.assert_close(
            Completeness().measure(case), (delta / wanted).abs(), rtol=1e-5, atol=1e-6
        )


def test_the_blur_of_rises_authors():
    ndimage = pytest.importorskip("scipy.ndimage")
    dirac = np.zeros((11, 11))
    dirac[5, 5] = 1
    kernel = torch.from_numpy(ndimage.gaussian_filter(dirac, 5))
    wanted = F.conv2d(images(2).flatten(0, 1)[:, None], kernel[None, None], padding=5)[
        :, 0
    ].unflatten(0, (2, 3))
    torch.testing.assert_close(rise_blur(images(2)), wanted, rtol=1e-6, atol=1e-9)
