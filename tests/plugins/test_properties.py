"""What holds for every method of the live registry,
and what the papers' authors claim of theirs."""

import dataclasses
import random

import numpy as np
import pytest
import torch
from torch import nn

import camport
from camport.errors import FlatMapWarning, MethodError
from camport.plugins import GroupCAM, HiResCAM, IntegratedGradients, xrai
from tests.nets import GapNet, Net, TokenNet, images, seeded
from tests.plugins.quick import FEW, TARGET, away, names, plain, quiet, setting

every = pytest.mark.parametrize("name", names())


@pytest.fixture(autouse=True)
def small_segmentation(monkeypatch):
    """XRAI's segments of 32x32 pixels instead of 224x224, which takes seconds an image."""
    monkeypatch.setattr(xrai, "SIDE", 32)


@every
def test_a_batch_is_its_images_one_by_one(name):
    s, together = setting(name), plain(name)
    for i in range(3):
        alone = s.explain(x=s.x[i : i + 1], target=TARGET[i : i + 1])
        assert away(alone.raw[0], together.raw[i]) < 1e-5
        assert alone.score[0] == pytest.approx(float(together.score[i]), rel=1e-5)


@every
def test_global_seeds_change_nothing(name):
    expected = plain(name).raw
    torch.manual_seed(1)
    np.random.seed(1)  # noqa: NPY002 - the global one is meant
    random.seed(1)
    assert torch.equal(setting(name).explain().raw, expected)


@every
def test_a_transformer_is_explained_or_refused_with_the_reason(name):
    """Its attention is fused, and its layers put out tokens, one of them of no place."""
    model, x = seeded(TokenNet(), 1), images(2, (8, 12))
    with quiet():
        bound = camport.bind(model, FEW.get(name, name), "blocks.1.norm1")
        if name == "cam":
            with pytest.raises(MethodError, match=r"cam needs .* pooling"):
                bound(x, TARGET[:2])
            return
        found = bound(x, TARGET[:2])
    assert found.heatmap.shape == (2, 8, 12)
    assert bool(found.raw.isfinite().all())
    assert float(found.raw.abs().max()) > 0


BY_PROBABILITY = {"drise", "groupcam", "iscam", "rise", "scorecam", "sscam"}
"""A probability is no linear function of the logits."""

NOT_LINEAR = BY_PROBABILITY | {"gradcam++", "smoothgradcam++"}
"""Their alpha has G^2 and G^3 in one sum."""


@every
def test_a_scaled_score_leaves_the_heatmap(name):
    s, expected = setting(name), plain(name)
    last = [m for m in s.model.modules() if isinstance(m, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.mul_(10), last.bias.mul_(10)
    scaled = s.explain()
    assert torch.allclose(scaled.score, 10 * expected.score, rtol=1e-5)
    if name in NOT_LINEAR:
        assert away(scaled.heatmap, expected.heatmap) > 1e-4
    else:
        assert away(scaled.heatmap, expected.heatmap) < 1e-5


@every
def test_channels_last_gives_the_same_map(name):
    s, wanted = setting(name), plain(name).raw
    found = s.explain(
        s.model.to(memory_format=torch.channels_last), s.x.to(memory_format=torch.channels_last)
    )
    assert away(found.raw, wanted) < 1e-5


PRECISION = {torch.float16: 0.02, torch.bfloat16: 0.15}
"""How far the map may be from float32's in relative l2:
some forty roundings of 5e-4 or 4e-3 in a row."""

DIFFERENCES = {"occlusion", "groupcam"}
"""Of scores, or of probabilities, that are nearly the same: what is rounded is these,
not the map."""


def l2(name, found, wanted):
    scale = wanted.raw.norm()
    if name in DIFFERENCES:
        said = wanted.score.abs().max() if name == "occlusion" else wanted.outputs.softmax(1).max()
        scale = scale.clamp_min(float(said) * wanted.raw[0].numel() ** 0.5)
    return float((found.raw - wanted.raw).norm() / scale)


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=["float16", "bfloat16"])
def test_half_precision_gives_the_same_map(name, dtype):
    s = setting(name)
    x = s.x.to(dtype)  # what the model sees is the same
    wanted = s.explain(s.model.to(dtype).float(), x.float())
    found = s.explain(s.model.to(dtype), x)
    assert found.raw.dtype == found.heatmap.dtype == torch.float32
    assert l2(name, found, wanted) < PRECISION[dtype]


@every
def test_autocast_gives_the_same_map(name):
    s = setting(name)
    model, x = s.model.float(), s.x.float()
    wanted = s.explain(model, x)
    with torch.autocast("cpu", torch.bfloat16):
        found = s.explain(model, x)
    assert l2(name, found, wanted) < PRECISION[torch.bfloat16]


@every
def test_a_flat_map_warns_and_is_zeros(name):
    """A network that says the same of every image, and nothing of where."""
    s = setting(name)
    biases = [m.bias for m in s.model.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for p in s.model.parameters():
            p.zero_()
        biases[-1].copy_(torch.arange(1, len(biases[-1]) + 1))
    method = s.method
    if name in ("rise", "drise"):  # other masks do not cover evenly
        method = dataclasses.replace(method, probability=1.0)
    with pytest.warns(FlatMapWarning, match=r"is flat, its heatmap is all zeros \("):
        explanation = camport.explain(s.model, s.x, method, TARGET, s.layer)
    assert not bool(explanation.heatmap.any())
    assert bool(explanation.raw.isfinite().all())


def test_gradcam_is_cam_behind_pooling_and_a_linear_layer():
    model, x = seeded(GapNet()).requires_grad_(False), images()
    with quiet():
        gradcam = camport.explain(model, x, "gradcam", 1, "features")
    cam = camport.explain(model, x, "cam", 1, "features")
    places = cam.raw[0].numel()
    assert away(gradcam.raw * places, cam.raw.relu()) < 1e-6
    bias = float(model.fc.bias[1])
    assert torch.allclose(cam.raw.mean((1, 2)) + bias, cam.score, rtol=1e-5)


def test_groupcam_of_one_group_is_gradcam():
    model, x, told = seeded(GapNet()), images(), 0
    for target in range(4):
        with quiet():
            gradcam = camport.explain(model, x, "gradcam", target, "features")
            one = camport.explain(
                model, x, GroupCAM(groups=1, theta=0.0, kernel=5, sigma=3.0), target, "features"
            )
        speaks = one.raw.amax((1, 2)) > 0  # the group for the target
        told += int(speaks.sum())
        if bool(speaks.any()):
            assert away(one.heatmap[speaks], gradcam.heatmap[speaks]) < 1e-5
    assert told >= 3


def test_xgradcam_adds_up_to_the_score():
    """The paper's conservation: the map sums up to what the activations give the score."""
    model, x = seeded(GapNet()).requires_grad_(False), images()
    with torch.no_grad():
        model.fc.weight.abs_()  # so that no location is cut off by the ReLU
    explanation = camport.explain(model, x, "xgradcam", 2, "features")
    given = explanation.score - float(model.fc.bias[2])
    assert torch.allclose(explanation.raw.sum((1, 2)), given, rtol=1e-5)


def test_xgradcam_sums_up_to_activations_times_gradients():
    """Likewise behind a head that is not linear, where the sum is that of HiResCAM."""
    model, x = setting("xgradcam").model, images()
    explanation = camport.explain(model, x, "xgradcam", 2, "features")
    a, g = explanation.activations[0], explanation.gradients[0]
    total = a.sum((2, 3))
    weights = (a * g).sum((2, 3)) / torch.where(total == 0, 1, total)
    signed = (weights[:, :, None, None] * a).sum(1)
    assert away(explanation.raw, signed.relu()) < 1e-6
    hires = camport.explain(model, x, HiResCAM(relu=False), 2, "features").raw
    assert torch.allclose(signed.sum((1, 2)), hires.sum((1, 2)), rtol=1e-4)


def test_integrated_gradients_are_complete():
    model, x = seeded(Net()), images()
    gaps = []
    for steps in (5, 80):
        explanation = camport.explain(model, x, IntegratedGradients(steps, "middle"), 1)
        said, missed = explanation.figures["difference"], explanation.figures["completeness_gap"]
        assert torch.allclose(explanation.raw.sum((1, 2)).double() + missed, said, atol=1e-5)
        gaps.append(float((missed / said).abs().max()))
    assert gaps[1] < gaps[0] / 4
    assert gaps[1] < 0.02


class OneByOne(nn.Module):
    """Maps of a single place."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 5))

    def forward(self, x):
        return self.head(self.features(x))


def test_layercam_of_one_place_is_gradcam_with_positive_weights():
    model, x = seeded(OneByOne()), images()
    with quiet():
        layercam = camport.explain(model, x, "layercam", 1, "features")
        a, g = layercam.activations[0], layercam.gradients[0]
        assert bool((g < 0).any())
        assert away(layercam.raw, (g.relu() * a).sum(1).float()) < 1e-6
        for layer in (model.head[1], model.head[3]):
            layer.weight.data.abs_()
        maps = [
            camport.explain(model, x, method, 1, "features").raw
            for method in ("layercam", "gradcam")
        ]
    assert float(maps[1].min()) > 0
    assert away(*maps) < 1e-6
