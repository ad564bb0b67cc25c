"""What docs/moving.md says of grad-cam and torchcam is so: their side of each difference,
and ours."""

import numpy as np
import pytest
import torch
from torch import nn

import camport
from camport.compat import pytorch_grad_cam as ours
from camport.compat.pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from camport.compat.torchcam import methods as our_extractors
from camport.errors import InputError
from tests.nets import Net, images, seeded

theirs = pytest.importorskip("pytorch_grad_cam", reason='pip install "camport[oracles]"')
extractors = pytest.importorskip("torchcam.methods", reason='pip install "camport[oracles]"')

pytestmark = pytest.mark.filterwarnings("ignore")


def net(make=Net, **options):
    return seeded(make(**options), dtype=torch.float32)


def batch(b=2):
    return images(b, (14, 18), torch.float32)


def both(name, make=Net, layer="features", targets=(1, 3), **options):
    """The maps of ours, then of grad-cam's."""
    maps = []
    for library in (ours, theirs):
        model = net(make)
        with getattr(library, name)(model, [model.get_submodule(layer)]) as cam:
            maps.append(
                cam(batch(), targets and [ClassifierOutputTarget(c) for c in targets], **options)
            )
    return maps


def faint(factor):
    """Scores so many times what they were."""

    class Faint(Net):
        def forward(self, x):
            return factor * super().forward(x)

    return Faint


def test_weak_maps():
    """grad-cam scales before and after it upsamples, so that a map has to be very weak to fade."""
    make = faint(1e-17)
    found, right = both("GradCAM", make)
    np.testing.assert_allclose(found, both("GradCAM")[0], atol=1e-5)
    assert right.max() < 0.1
    maps = []
    for library in (our_extractors, extractors):
        model = net(faint(1e-8))
        with library.GradCAM(model, "features") as extractor:
            maps += extractor([1, 3], model(batch()))
    assert maps[0].max() == 1
    assert maps[1].max() < 0.5


def test_small_gradients_of_grad_cam_plus_plus():
    """Against equation 19 in float64, where the 1e-6 is what is left of the difference."""
    make = faint(1e-3)
    found, right = both("GradCAMPlusPlus", make, "features.2")
    exact = camport.explain(
        net(make).double(), batch().double(), "gradcam++", torch.tensor([1, 3]), "features.2"
    ).heatmap
    np.testing.assert_allclose(found, exact, atol=1e-4)
    assert np.abs(found - right).max() > 0.01


def test_fewer_targets_than_images():
    model = net()
    with theirs.GradCAM(model, [model.features]) as cam:
        assert not cam(batch(), [ClassifierOutputTarget(1)])[1].any()
    with pytest.raises(InputError, match="1 target for 2 images"):
        ours.GradCAM(net(), ["features"])(batch(), [ClassifierOutputTarget(1)])


class Divided(nn.Module):
    """Its top class is another one where the image is brighter."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())

    def forward(self, x):
        a = self.features(x).mean((2, 3))
        brightness = x.abs().mean((1, 2, 3))
        return torch.stack(
            [a[:, 0], a[:, 1] + 100 * (brightness - 1.02 * brightness.new_tensor(self.mean))], 1
        )

    mean = 0.0


def test_variants_are_asked_about_the_images_own_class():
    model = net(Divided)
    model.mean = float(batch(1).abs().mean())
    cam = ours.GradCAM(model, ["features"])
    assert model(batch(1)).argmax() == 0
    assert model(batch(1) * 1.1).argmax() == 1
    own = cam(batch(1), [ClassifierOutputTarget(0)], aug_smooth=True)
    np.testing.assert_array_equal(cam(batch(1), None, aug_smooth=True), own)
    with theirs.GradCAM(model, [model.features]) as cam:
        right = cam(batch(1), [ClassifierOutputTarget(0)], aug_smooth=True)
        assert np.abs(cam(batch(1), None, aug_smooth=True) - right).max() > 0.05


def test_outputs_after_augmentation():
    kept = []
    for library in (ours, theirs):
        model = net()
        with library.GradCAM(model, [model.features]) as cam:
            cam(batch(), [ClassifierOutputTarget(1)] * 2, aug_smooth=True)
            kept.append(cam.outputs.detach())
    torch.testing.assert_close(kept[0], net()(batch()).detach())
    assert (kept[1] - kept[0]).abs().max() > 1e-2


def test_an_in_place_relu_behind_the_layer():
    found, right = both("GradCAM", lambda: Net(inplace=True))
    np.testing.assert_allclose(found, both("GradCAM")[0], atol=1e-5)
    assert np.abs(found - right).max() > 0.05


def test_fem_and_score_cam_weigh_as_their_papers():
    for name in ("FEM", "ScoreCAM"):
        found, right = both(name)
        assert np.abs(found - right).max() > 0.02


def test_the_model_of_grad_cam_is_changed():
    model = net().train()
    with theirs.GradCAM(model, [model.features]) as cam:
        cam(batch(), None)
    assert not model.training
    assert model.features[0].weight.grad is not None


def test_an_index_error_in_the_block_is_swallowed_by_grad_cam(capsys):
    model = net()
    with theirs.GradCAM(model, [model.features]):
        [].pop()
    assert "IndexError" in capsys.readouterr().out


def test_torchcam_needs_the_users_graph():
    model = net()
    with extractors.GradCAM(model, "features") as extractor, torch.no_grad():
        scores = model(batch())
        with pytest.raises(RuntimeError, match=r"not connected|does not require grad"):
            extractor([1, 3], scores)
    with our_extractors.GradCAM(model, "features") as extractor, torch.no_grad():
        (found,) = extractor([1, 3], model(batch()))
    raw = camport.explain(net(), batch(), "gradcam", torch.tensor([1, 3]), "features").raw
    torch.testing.assert_close(found, camport.core.minmax(raw))
