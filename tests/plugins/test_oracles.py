"""Differential tests against independent implementations, on raw maps."""

import pytest
import torch
from torch import nn

import camport
from camport.plugins import GradCAMPlusPlus, LayerCAM, XGradCAM
from tests.nets import GapNet, Net, images, seeded
from tests.plugins.test_references import Behind

captum = pytest.importorskip("captum.attr", reason='pip install "camport[oracles]"')
torchcam = pytest.importorskip("torchcam.methods")
pytorch_grad_cam = pytest.importorskip("pytorch_grad_cam")

pytestmark = pytest.mark.filterwarnings("ignore")
X = images(2)
TARGET = torch.tensor([1, 3])


def behind() -> nn.Module:
    return seeded(Behind(), dtype=torch.float64)


def raw(model, method, layer="features", target=TARGET):
    return camport.explain(model, X, method, target, layer).raw.double()


def close(ours, theirs, bound=1e-6):
    theirs = theirs.double()
    assert theirs.norm() > 0
    assert (ours - theirs).norm() / theirs.norm() < bound


def from_torchcam(cls, model, layer="features", **options):
    with cls(model, layer, enable_hooks=True, **options) as extractor:
        maps = []
        for i in range(len(X)):
            scores = model(X[i : i + 1])
            maps.append(extractor(int(TARGET[i]), scores, normalized=False)[0])
            model.zero_grad()
        return torch.cat(maps)


def from_grad_cam(cls, model, layer="features"):
    """Its last step is min-max with +1e-7 at image size,
    so its weights are asked for and the map is made here."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    with cls(model=model, target_layers=[model.get_submodule(layer)]) as cam:
        cam(input_tensor=X, targets=[ClassifierOutputTarget(int(c)) for c in TARGET])
        a = cam.activations_and_grads.activations[0].double().cpu().numpy()
        g = cam.activations_and_grads.gradients[0].double().cpu().numpy()
        image = cam.get_cam_image(X, model.get_submodule(layer), None, a, g, False)
        return torch.from_numpy(image).double().relu()


def test_feature_maps_equal_captum():
    theirs = captum.LayerActivation(behind_model := behind(), behind_model.features).attribute(X)
    close(raw(behind_model, "feature_maps"), theirs.mean(1))


def test_saliency_equals_captum():
    model = seeded(Net())
    theirs = captum.Saliency(model).attribute(X.clone().requires_grad_(), target=TARGET, abs=True)
    close(raw(model, "saliency"), theirs.amax(1))


def test_gradcam_equals_captum():
    model = behind()
    theirs = captum.LayerGradCam(model, model.features).attribute(
        X, target=TARGET, relu_attributions=True
    )
    close(raw(model, "gradcam"), theirs[:, 0])


def test_gradcam_equals_torchcam():
    close(raw(behind(), "gradcam"), from_torchcam(torchcam.GradCAM, behind()))


def test_cam_equals_torchcam():
    model = seeded(GapNet())
    theirs = from_torchcam(torchcam.CAM, model, fc_layer="fc")
    # torchcam keeps positive evidence only
    close(raw(model, "cam").relu(), theirs.relu())


def test_hirescam_equals_grad_cam():
    close(raw(behind(), "hirescam"), from_grad_cam(pytorch_grad_cam.HiResCAM, behind()))


@pytest.mark.parametrize("library", ["torchcam", "grad-cam"])
def test_xgradcam_equals(library):
    if library == "torchcam":
        theirs = from_torchcam(torchcam.XGradCAM, behind())
    else:
        theirs = from_grad_cam(pytorch_grad_cam.XGradCAM, behind())
    close(raw(behind(), "xgradcam"), theirs, 1e-5)  # both add 1e-7 or so beside the sum


@pytest.mark.parametrize("library", ["torchcam", "grad-cam"])
def test_layercam_equals(library):
    if library == "torchcam":
        theirs = from_torchcam(torchcam.LayerCAM, behind())
    else:
        theirs = from_grad_cam(pytorch_grad_cam.LayerCAM, behind())
    close(raw(behind(), "layercam"), theirs)


def test_layercam_fuses_layers_as_torchcam():
    model, layers = behind(), ["features.2", "features.4"]
    with torchcam.LayerCAM(model, layers, enable_hooks=True) as extractor:
        theirs = extractor.fuse_cams(extractor(TARGET.tolist(), model(X)))
    ours = raw(behind(), LayerCAM(preset="torchcam"), layers)
    close(ours, theirs)
    assert (raw(behind(), "layercam", layers) - ours).norm() > 0.1 * ours.norm()


def test_torchcam_gradcam_plus_plus_is_not_the_papers():
    """Its division lands in a copy, so its weights are those of an undivided alpha;
    ours follow eq. 19."""
    theirs = from_torchcam(torchcam.GradCAMpp, behind())
    ours = raw(behind(), "gradcam++")
    difference = (ours / ours.norm() - theirs / theirs.norm()).norm()
    assert difference > 1e-3


def test_grad_cam_plus_plus_of_grad_cam_drowns_small_gradients():
    """It adds 1e-6 to the denominator 2 G^2 + ...; for gradients of 1e-4 that is most of it."""

    model = seeded(Small())
    theirs = from_grad_cam(pytorch_grad_cam.GradCAMPlusPlus, model)
    ours = raw(model, "gradcam++")
    assert (ours / ours.norm() - theirs / theirs.norm()).norm() > 1e-3


class Small(Behind):
    """Gradients of 1e-4."""

    def forward(self, x):
        return super().forward(x) * 1e-4


@pytest.mark.parametrize("make", [Behind, Small, Net])
def test_gradcam_plus_plus_as_the_libraries_have_it(make):
    """Their figures can be made here, too, by name."""
    model = seeded(make())
    close(
        raw(model, GradCAMPlusPlus("grad-cam")),
        from_grad_cam(pytorch_grad_cam.GradCAMPlusPlus, seeded(make())),
    )
    theirs = from_torchcam(torchcam.GradCAMpp, seeded(make())).relu()
    close(raw(model, GradCAMPlusPlus("torchcam")), theirs)


@pytest.mark.parametrize("make", [Behind, Net])
def test_xgradcam_as_the_libraries_have_it(make):
    """Also where channels sum to little or to a negative number."""
    model = seeded(make())
    close(
        raw(model, XGradCAM("grad-cam")), from_grad_cam(pytorch_grad_cam.XGradCAM, seeded(make()))
    )
    close(raw(model, XGradCAM("torchcam")), from_torchcam(torchcam.XGradCAM, seeded(make())).relu())


def test_heatmaps_as_grad_cam_scales_them():
    """Two min-max, each with 1e-7 beside the range, and OpenCV's bilinear upsampling in between."""
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    for make in (Behind, Small):
        model = seeded(make())
        with pytorch_grad_cam.GradCAM(model=model, target_layers=[model.features]) as cam:
            theirs = cam(input_tensor=X, targets=[ClassifierOutputTarget(int(c)) for c in TARGET])
        ours = camport.explain(model, X, "gradcam", TARGET, "features")
        assert torch.allclose(
            ours.heatmap_as("grad-cam").float(), torch.from_numpy(theirs), atol=1e-5
        )


def test_heatmaps_as_torchcam_scales_them():
    model = behind()
    with torchcam.GradCAM(model, "features", enable_hooks=True) as extractor:
        theirs = extractor(TARGET.tolist(), model(X))[0]
    ours = camport.explain(model, X, "gradcam", TARGET, "features")
    assert torch.allclose(ours.heatmap_as("torchcam").double(), theirs, atol=1e-6)
    with pytest.raises(
        camport.errors.InputError, match=r"heatmap_as\('captum'\); it is one of grad-cam, torchcam"
    ):
        ours.heatmap_as("captum")
