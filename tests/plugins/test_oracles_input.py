"""Differential tests of the methods that differentiate to the image; see `test_oracles`.
Random draws are injected."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import camport
from camport.core.maps.noise import normal
from camport.plugins import XRAI, FullGrad, IntegratedGradients, SmoothGrad, SmoothGradCAMPlusPlus
from camport.plugins.xrai import ranked, ranked_once, segments
from tests.nets import Net, images, seeded
from tests.plugins.test_oracles import TARGET, X, behind, close, from_torchcam, raw

captum = pytest.importorskip("captum.attr", reason='pip install "camport[oracles]"')
torchcam = pytest.importorskip("torchcam.methods")
pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam")
saliency = pytest.importorskip("saliency.core")

pytestmark = pytest.mark.filterwarnings("ignore")


def gradient(model, x, c):
    leaf = x.detach().requires_grad_()
    return torch.autograd.grad(model(leaf)[torch.arange(len(x)), c].sum(), leaf)[0]


class Functional(Net):
    """Net with its ReLUs written as functions."""

    def forward(self, x):
        x = F.relu(self.features[1](self.features[0](x)))
        return self.head[1:](torch.relu(self.features[3](x)))


RULES = {"gausslegendre": "gausslegendre", "riemann": "riemann_right", "middle": "riemann_middle"}


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [7, 50])
def test_integrated_gradients_equal_captum(rule, steps):
    model = seeded(Net())
    theirs = captum.IntegratedGradients(model).attribute(
        X, baselines=0.3, target=TARGET, method=RULES[rule], n_steps=steps
    )
    close(raw(model, IntegratedGradients(steps, rule, 0.3), None), theirs.sum(1))


def test_the_trapezoids_of_captum_do_not_sum_to_one():
    """It weighs n points of which two count half by 1/n each: (n - 1) / n of the integral."""
    model, steps = seeded(Net()), 11
    ours = raw(model, IntegratedGradients(steps, "trapezoid"), None)
    theirs = captum.IntegratedGradients(model).attribute(
        X, target=TARGET, method="riemann_trapezoid", n_steps=steps
    )
    close(ours * (steps - 1) / steps, theirs.sum(1))


def test_the_completeness_gap_is_captums():
    model = seeded(Net())
    explanation = camport.explain(model, X, IntegratedGradients(6), TARGET)
    start = torch.zeros_like(X)
    _, delta = captum.IntegratedGradients(model).attribute(
        X, start, target=TARGET, n_steps=6, return_convergence_delta=True
    )
    assert torch.allclose(-explanation.figures["completeness_gap"], delta, rtol=1e-4)
    rows = torch.arange(2)
    wanted = (model(X) - model(start))[rows, TARGET].detach()
    assert torch.allclose(explanation.figures["difference"], wanted)


@pytest.mark.parametrize(
    ("form", "kind"),
    [("mean", "smoothgrad"), ("squared", "smoothgrad_sq"), ("variance", "vargrad")],
)
def test_smoothgrad_equals_captum(monkeypatch, form, kind):
    model, samples = seeded(Net()), 5
    ours = raw(model, SmoothGrad(samples, 0.2, form, seed=4), None)
    for i in range(len(X)):
        x = X[i : i + 1]
        drawn = normal(4, torch.arange(samples), x.numel()).double().reshape(samples, *x.shape[1:])
        monkeypatch.setattr(
            torch, "normal", lambda mean, deviation, drawn=drawn: mean + deviation * drawn
        )
        theirs = captum.NoiseTunnel(captum.Saliency(model)).attribute(
            x,
            nt_type=kind,
            nt_samples=samples,
            stdevs=0.2 * float(x.max() - x.min()),  # captum's is absolute
            target=int(TARGET[i]),
            abs=False,
        )
        close(ours[i], theirs[0].abs().amax(0))


def called_by_saliency(model, c):
    """What the library calls a model: images [n,H,W,3] in, gradients out."""

    def call(batch, call_model_args=None, expected_keys=None):
        x = torch.from_numpy(np.asarray(batch)).to(X.dtype).permute(0, 3, 1, 2)
        found = gradient(model, x, torch.full((len(x),), int(c)))
        return {"INPUT_OUTPUT_GRADIENTS": found.permute(0, 2, 3, 1).numpy()}

    return call


def test_smoothgrad_equals_the_authors_program(monkeypatch):
    """25 noisy images and the square are its defaults."""
    model, x, c = seeded(Net()), X[:1], TARGET[:1]
    drawn = iter(normal(0, torch.arange(25), x.numel()).double().reshape(25, *x.shape[1:]))
    monkeypatch.setattr(
        np.random, "normal", lambda mean, d, shape: d * next(drawn).permute(1, 2, 0).numpy()
    )
    theirs = saliency.GradientSaliency().GetSmoothedMask(
        x[0].permute(1, 2, 0).numpy(), called_by_saliency(model, c)
    )
    ours = camport.explain(model, x, SmoothGrad(preset="official"), c).raw.double()
    close(ours[0], torch.from_numpy(theirs).amax(2))


def test_guided_backprop_equals_captum():
    model = seeded(Net())
    explanation = camport.explain(model, X, "guided_backprop", TARGET)
    theirs = captum.GuidedBackprop(seeded(Net())).attribute(
        X.clone().requires_grad_(), target=TARGET
    )
    close(explanation.figures["gradient"].double(), theirs)
    close(explanation.raw.double(), theirs.abs().amax(1))


def test_deconvnet_equals_captum():
    explanation = camport.explain(seeded(Net()), X, "deconvnet", TARGET)
    theirs = captum.Deconvolution(seeded(Net())).attribute(
        X.clone().requires_grad_(), target=TARGET
    )
    close(explanation.figures["gradient"].double(), theirs)
    close(explanation.raw.double(), theirs.abs().amax(1))


def test_guided_gradcam_equals_captum():
    model = behind()
    explanation = camport.explain(model, X, "guided_gradcam", TARGET, "features")
    theirs = captum.GuidedGradCam(model, model.features).attribute(
        X.clone().requires_grad_(), target=TARGET, interpolate_mode="bilinear"
    )
    close(explanation.figures["gradient"].double(), theirs)


@pytest.mark.parametrize(
    ("method", "peer"),
    [("guided_backprop", captum.GuidedBackprop), ("deconvnet", captum.Deconvolution)],
)
def test_functional_relus_are_ruled_here_and_not_by_captum(method, peer):
    """captum hooks modules, finds none, and returns the plain gradient as if it were guided."""
    functional, modules = seeded(Functional()), seeded(Net())
    assert torch.equal(functional(X), modules(X))
    theirs = peer(functional).attribute(X.clone().requires_grad_(), target=TARGET)
    close(theirs, gradient(functional, X, TARGET))
    ours = camport.explain(functional, X, method, TARGET).figures["gradient"]
    assert torch.equal(ours, camport.explain(modules, X, method, TARGET).figures["gradient"])
    assert (ours - theirs).norm() > 0.1 * theirs.norm()


def test_grad_cams_guided_backprop_explains_image_0_alone():
    model = seeded(Net())
    theirs = pytorch_grad_cam.GuidedBackpropReLUModel(model=seeded(Net()), device="cpu")(
        X.clone(), int(TARGET[0])
    )
    ours = camport.explain(model, X, "guided_backprop", TARGET).figures["gradient"].double()
    close(ours[0], torch.from_numpy(theirs).permute(2, 0, 1))
    assert theirs.shape == (14, 18, 3)  # of two images


def test_smoothgradcam_plus_plus_equals_torchcam():
    samples = 3

    class Injected(torchcam.SmoothGradCAMpp):
        """Draws what camport draws."""

        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.number, self._distrib = -1, self

        def sample(self, size):
            self.number += 1
            return 0.3 * normal(
                6, torch.tensor([self.number % samples]), size[1:].numel()
            ).double().reshape(size)

    theirs = from_torchcam(Injected, behind(), num_samples=samples).relu()
    close(raw(behind(), SmoothGradCAMPlusPlus(samples, seed=6, preset="torchcam")), theirs)


def test_smoothgradcam_plus_plus_without_noise_is_gradcam_plus_plus():
    close(raw(behind(), SmoothGradCAMPlusPlus(3, 0.0)), raw(behind(), "gradcam++"))


def by_grad_cam_fullgrad(model):
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    class Unscaled(pytorch_grad_cam.FullGrad):
        def aggregate_multi_layers(self, maps):
            return maps.sum(1)

    with Unscaled(model=model, target_layers=[]) as cam:
        return torch.from_numpy(
            cam(X.clone(), [ClassifierOutputTarget(int(c)) for c in TARGET])
        ).double()


def test_fullgrad_equals_grad_cam():
    """The library computes in single precision and adds 1e-7 to each map's range."""
    close(raw(seeded(Net()), "fullgrad", None), by_grad_cam_fullgrad(seeded(Net())), 1e-4)


def test_fullgrad_equals_the_authors_formula():
    """All channels of a layer are scaled together, and upsampled with aligned corners."""
    model, kept = seeded(Net()), []
    biased = [m for m in model.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    handles = [m.register_forward_hook(lambda m, i, out: kept.append((m, out))) for m in biased]
    leaf = X.clone().requires_grad_()
    y = model(leaf)[torch.arange(2), TARGET].sum()
    for handle in handles:
        handle.remove()
    grads = torch.autograd.grad(y, [leaf, *(out for _, out in kept)])
    parts = [grads[0] * X]
    for (m, _), g in zip(kept, grads[1:], strict=True):
        bias = m.bias
        if isinstance(m, nn.BatchNorm2d):
            bias = bias - m.running_mean * m.weight / (m.running_var + m.eps).sqrt()
        parts.append(g * bias.detach()[:, None, None])
    theirs = sum(scaled_together(part, X.shape[-2:]) for part in parts)
    close(raw(model, FullGrad("official"), None), theirs)


def scaled_together(part, size):
    part = part.abs()
    low, high = part.amin((1, 2, 3), keepdim=True), part.amax((1, 2, 3), keepdim=True)
    return F.interpolate(
        (part - low) / (high - low), size, mode="bilinear", align_corners=True
    ).sum(1)


def a_picture(size=(60, 72), seed=0):
    """Three smooth blobs of colour and some grain, [3,H,W]."""
    g = torch.Generator().manual_seed(seed)
    coarse = F.interpolate(
        torch.rand(1, 3, 4, 5, generator=g, dtype=torch.float64), size, mode="bicubic"
    )[0]
    return coarse + 0.02 * torch.rand(3, *size, generator=g, dtype=torch.float64)


def test_xrai_segments_are_those_of_saliency():
    from saliency.core.xrai import _get_segments_felzenszwalb

    x = a_picture()
    theirs = _get_segments_felzenszwalb(x.permute(1, 2, 0).numpy())
    assert len(theirs) > 6
    assert np.array_equal(segments(x).numpy(), np.stack(theirs))


@pytest.mark.parametrize(("algorithm", "ours"), [("full", ranked), ("fast", ranked_once)])
def test_xrai_ranks_segments_as_saliency_does(algorithm, ours):
    """Injected attribution and segments, which overlap and leave a corner to nobody."""
    g = torch.Generator().manual_seed(3)
    attribution = torch.randn(40, 50, 3, generator=g, dtype=torch.float64)
    masks = torch.zeros(12, 40, 50, dtype=torch.bool)
    for mask in masks:
        top, left = (int(v) for v in torch.randint(0, 25, (2,), generator=g))
        height, width = (int(v) for v in torch.randint(5, 20, (2,), generator=g))
        mask[top : top + height, left : left + width] = True
    parameters = saliency.XRAIParameters(algorithm=algorithm)
    theirs = saliency.XRAI().GetMask(
        np.zeros((40, 50, 3)),
        None,
        segments=list(masks.numpy()),
        base_attribution=attribution.numpy(),
        extra_parameters=parameters,
    )
    assert not bool(masks.any(0).all())
    assert torch.allclose(ours(attribution.amax(2), masks), torch.from_numpy(theirs), rtol=1e-12)


@pytest.mark.parametrize("algorithm", ["full", "fast"])
def test_xrai_equals_saliency(algorithm):
    model, x, c = seeded(Net()), a_picture((40, 48)), 2
    theirs = saliency.XRAI().GetMask(
        x.permute(1, 2, 0).numpy(),
        called_by_saliency(model, c),
        batch_size=10,
        extra_parameters=saliency.XRAIParameters(steps=10, algorithm=algorithm),
    )
    close(
        camport.explain(model, x[None], XRAI(10, algorithm), c).raw[0],
        torch.from_numpy(theirs),
        1e-5,
    )


def test_ways_of_saliency_are_those_of_xrai():
    """Both ends of each way count like every other point."""
    model, x, c = seeded(Net()), images(1)[0], 2
    image = x.permute(1, 2, 0).numpy()
    integrated = saliency.IntegratedGradients()
    theirs = [
        integrated.GetMask(
            image, called_by_saliency(model, c), x_baseline=np.full_like(image, end), x_steps=8
        )
        for end in (image.min(), image.max())
    ]
    seen = []

    class Seeing(XRAI):
        def saliency(self, probe):
            seen.append(self.attribution(probe))
            return super().saliency(probe)

    camport.explain(model, x[None], Seeing(8), c)
    close(seen[0][0], torch.from_numpy(np.mean(theirs, 0)).amax(2))
