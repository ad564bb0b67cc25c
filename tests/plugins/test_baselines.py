"""Baselines of integrated gradients, occlusion and XRAI: numbers, channels, tensors,
and what is made of the image."""

import pytest
import torch
from torchvision.transforms.functional import gaussian_blur

import camport
from camport.core.maps.baseline import check_baseline
from camport.errors import InputError
from camport.plugins.integrated_gradients import IntegratedGradients
from camport.plugins.occlusion import Occlusion
from camport.plugins.xrai import XRAI
from tests.nets import Net, images, seeded

X = images(2, (15, 12))
CHANNELS = (-1.5, 0.25, 2.0)
PIXELS = torch.randn(3, 15, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
EACH = torch.randn(2, 3, 15, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
BASELINES = {
    "number": (0.7, torch.full_like(X, 0.7)),
    "channels": (CHANNELS, torch.tensor(CHANNELS, dtype=torch.float64)[:, None, None].expand_as(X)),
    "tensor": (PIXELS, PIXELS.expand_as(X)),
    "tensor of channels": (PIXELS[:, :1, :1], PIXELS[:, :1, :1].expand_as(X)),
    "an image each": (EACH, EACH),
    "mean": ("mean", X.mean((2, 3), keepdim=True).expand_as(X)),
}


def integral(model, x, start, steps):
    """The middle rule over the straight way, summed over channels."""
    total = torch.zeros_like(x)
    for i in range(steps):
        point = (start + (i + 0.5) / steps * (x - start)).requires_grad_()
        total += torch.autograd.grad(model(point)[:, 1].sum(), point)[0]
    return (x - start) * total / steps


@pytest.mark.parametrize("kind", BASELINES)
def test_integrated_gradients_begin_at_the_baseline(kind):
    given, start = BASELINES[kind]
    model = seeded(Net())
    e = camport.explain(model, X, IntegratedGradients(steps=7, rule="middle", baseline=given), 1)
    torch.testing.assert_close(e.raw, integral(model, X, start, 7).sum(1))
    torch.testing.assert_close(e.figures["difference"], (model(X) - model(start))[:, 1].detach())


@pytest.mark.parametrize("kind", BASELINES)
def test_occlusion_covers_with_the_fill(kind):
    given, fill = BASELINES[kind]
    model = seeded(Net())
    found = camport.explain(model, X, Occlusion((5, 4), (5, 4), given), 1).raw
    for row in range(0, 15, 5):
        for column in range(0, 12, 4):
            seen = X.clone()
            seen[:, :, row : row + 5, column : column + 4] = fill[
                :, :, row : row + 5, column : column + 4
            ]
            fall = (model(X) - model(seen))[:, 1].detach()
            patch = found[:, row : row + 5, column : column + 4]
            torch.testing.assert_close(patch, fall[:, None, None].expand_as(patch))


def test_the_blurred_image_is_a_baseline():
    model, x = seeded(Net()), images(2, (60, 70))
    start = gaussian_blur(x, [51, 51], [50.0, 50.0])
    e = camport.explain(
        model, x, IntegratedGradients(steps=3, rule="middle", baseline="blurred"), 1
    )
    torch.testing.assert_close(e.raw, integral(model, x, start, 3).sum(1), rtol=1e-5, atol=1e-7)


def test_xrai_of_one_baseline():
    model, x = seeded(Net()), X[:1]
    start = x.mean((2, 3), keepdim=True).expand_as(x)
    total = torch.zeros_like(x)
    for place in (0.0, 0.5, 1.0):
        point = (start + place * (x - start)).requires_grad_()
        total += torch.autograd.grad(model(point)[:, 1].sum(), point)[0] / 3
    seen = []

    class Spied(XRAI):
        def saliency(self, probe):
            seen.append(self.attribution(probe))
            return seen[0]

    camport.explain(model, x, Spied(steps=3, baseline="mean"), 1)
    torch.testing.assert_close(seen[0], ((x - start) * total).amax(1))


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("black", "'black'; a word is one of 'blurred', 'mean'"),
        (float("nan"), "nan; wanted a finite number"),
        ((), r"\(\); wanted a finite number"),
        (torch.tensor([1]), r"is a tensor \(1,\); wanted finite floating-point"),
        (torch.tensor(float("inf")), "wanted finite"),
        (None, "None; wanted a finite number"),
    ],
)
def test_what_makes_no_baseline_is_refused(bad, says):
    with pytest.raises(InputError, match=says):
        check_baseline(bad, "baseline")


@pytest.mark.parametrize(
    "make", [lambda v: IntegratedGradients(baseline=v), lambda v: Occlusion(fill=v)]
)
def test_methods_look_at_their_baseline_when_they_are_made(make):
    with pytest.raises(InputError, match="nan; wanted a number"):
        make(float("nan"))


@pytest.mark.parametrize(
    "method", [IntegratedGradients(baseline=(0.0, 1.0)), Occlusion(fill=(0.0, 1.0))]
)
def test_a_value_a_channel_needs_all_channels(method):
    with pytest.raises(InputError, match="has 2 values, the images 3 channels"):
        camport.explain(seeded(Net()), X, method, 1)


def test_a_tensor_of_another_size_is_refused():
    method = IntegratedGradients(baseline=torch.zeros(3, 8, 8))
    with pytest.raises(
        InputError, match=r"baseline has shape \(3, 8, 8\), the images \(2, 3, 15, 12\)"
    ):
        camport.explain(seeded(Net()), X, method, 1)


def test_options_are_json_whatever_the_baseline():
    assert IntegratedGradients(baseline=PIXELS).options()["baseline"] == "tensor [3, 15, 12]"
    assert Occlusion(fill=CHANNELS).options()["fill"] == CHANNELS
