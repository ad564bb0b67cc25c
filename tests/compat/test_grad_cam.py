"""`camport.compat.pytorch_grad_cam` beside grad-cam itself, on small seeded networks: numbers,
not shapes."""

import numpy as np
import pytest
import torch
from torch import nn

import camport
from camport.compat import pytorch_grad_cam as ours
from camport.compat.pytorch_grad_cam.eigen_smooth import WEIGHTED, EigenSmoothed
from camport.compat.pytorch_grad_cam.utils import image as our_images
from camport.compat.pytorch_grad_cam.utils import model_targets as our_targets
from camport.compat.pytorch_grad_cam.utils import reshape_transforms
from camport.compat.targets import TargetsAdapter
from camport.core import minmax, upsample
from camport.errors import InputError, MethodError, ModelError
from tests.marks import mostly_rare, rare
from tests.nets import GapNet, Net, TokenNet, images, seeded

theirs = pytest.importorskip("pytorch_grad_cam", reason='pip install "camport[oracles]"')
their_images = pytest.importorskip("pytorch_grad_cam.utils.image")
their_targets = pytest.importorskip("pytorch_grad_cam.utils.model_targets")

pytestmark = pytest.mark.filterwarnings("ignore")
CLASSES = (1, 3, 0)
ONE_NUMBER = ("ClassifierOutputTarget", "ClassifierOutputSoftmaxTarget", "ClassifierOutputReST")


def net(make=Net, **options):
    return seeded(make(**options), dtype=torch.float32)


def batch(b=3, size=(14, 18)):
    return images(b, size, torch.float32)


def called(library, name, model, layers, targets=CLASSES, reshape=None, made=None, **options):
    """The maps of a class of either library; target classes are wrapped in that library's own
    target."""
    kinds = our_targets if library is ours else their_targets
    asked = None if targets is None else [kinds.ClassifierOutputTarget(c) for c in targets]
    modules = [model.get_submodule(layer) for layer in layers]
    cam = getattr(library, name)(
        model=model, target_layers=modules, reshape_transform=reshape, **(made or {})
    )
    with cam:
        return cam(input_tensor=batch(), targets=asked, **options)


def close(found, right, bound=1e-4):
    assert right.max() > 0.9
    assert found.dtype == np.float32
    assert np.abs(found - right).max() < bound


@pytest.mark.parametrize("make", [Net, *rare(GapNet)])
@pytest.mark.parametrize(
    "name",
    [
        "GradCAM",
        "HiResCAM",
        "GradCAMElementWise",
        "XGradCAM",
        "LayerCAM",
        "ShapleyCAM",
        "AblationCAM",
    ],
)
def test_maps_are_grad_cams(name, make):
    # XGrad-CAM divides by sums of activations, which cancel where no ReLU stands before
    layer = "features.2" if make is Net else "features"
    model = net(make)
    close(called(ours, name, model, [layer]), called(theirs, name, net(make), [layer]))


def test_maps_of_the_top_classes():
    close(
        called(ours, "GradCAM", net(), ["features"], None),
        called(theirs, "GradCAM", net(), ["features"], None),
    )


@pytest.mark.parametrize("name", ["GradCAM", "HiResCAM", "LayerCAM"])
def test_several_layers_are_averaged(name):
    layers = ["features.0", "features.2", "features"]
    close(called(ours, name, net(), layers), called(theirs, name, net(), layers))


def loud(make):
    """Gradients of 1e5, beside which the 1e-6 that grad-cam adds to Grad-CAM++'s denominator is
    nothing."""

    class Loud(make):
        def forward(self, x):
            return 1e5 * super().forward(x)

    return Loud


def test_grad_cam_plus_plus_where_gradients_are_large():
    right = called(theirs, "GradCAMPlusPlus", net(loud(Net)), ["features.2"])
    close(called(ours, "GradCAMPlusPlus", net(loud(Net)), ["features.2"]), right)


def test_score_cam_weighs_by_the_classes_probabilities():
    """As camport's classification has it, and the paper."""
    right = camport.explain(
        net(), batch(), "scorecam", torch.tensor(CLASSES), "features"
    ).heatmap.numpy()
    close(called(ours, "ScoreCAM", net(), ["features"]), right)


@pytest.mark.parametrize("name", ["FEM", "ScoreCAM", "GradCAMPlusPlus", "XGradCAM"])
def test_a_preset_gives_grad_cams_own_formula(name):
    preset = {"preset": "grad-cam"}
    right = called(theirs, name, net(), ["features"])
    close(
        called(ours, name, net(), ["features"], made=preset),
        right,
        2e-3 if name == "ScoreCAM" else 1e-4,
    )


def halves(method, make):
    """The positive and the negative part of a signed map, each as grad-cam scales it."""
    asked = TargetsAdapter().of([our_targets.ClassifierOutputTarget(c) for c in CLASSES])
    raw = camport.explain(net(make), batch(), method, layer="features", adapter=asked).raw
    return [minmax(upsample((sign * raw).relu(), (14, 18))).numpy() for sign in (1, -1)]


def is_one_half(right, method, make):
    """grad-cam shows one of the two, whichever the decomposition's sign brings up."""
    for i, map_ in enumerate(right):
        assert map_.max() > 0.9
        assert min(np.abs(half[i] - map_).max() for half in halves(method, make)) < 1e-3


@pytest.mark.parametrize(
    ("name", "made"), [("EigenCAM", {"centre": True}), ("EigenGradCAM", {}), ("KPCA_CAM", {})]
)
def test_principal_components_but_for_their_sign(name, made):
    method = getattr(ours, name).explainer(**made)
    is_one_half(called(theirs, name, net(), ["features"]), method, Net)
    close(called(ours, name, net(), ["features"], made=made), halves(method, Net)[0])


@pytest.mark.parametrize("name", ["GradCAM", *rare("AblationCAM")])
def test_augmented_maps_are_grad_cams(name):
    right = called(theirs, name, net(), ["features"], aug_smooth=True)
    found = called(ours, name, net(), ["features"], aug_smooth=True)
    assert np.abs(found - right).max() < 1e-4
    assert np.abs(found - called(ours, name, net(), ["features"])).max() > 0.05


SMOOTHED = (
    "GradCAM",
    "HiResCAM",
    "GradCAMElementWise",
    "XGradCAM",
    "LayerCAM",
    "GradCAMPlusPlus",
    "AblationCAM",
)


@pytest.mark.parametrize("name", mostly_rare(SMOOTHED, ("HiResCAM", "AblationCAM")))
def test_eigen_smoothed_maps_but_for_their_sign(name):
    method, make = EigenSmoothed(getattr(ours, name).explainer()), loud(GapNet)
    is_one_half(called(theirs, name, net(make), ["features"], eigen_smooth=True), method, make)
    close(called(ours, name, net(make), ["features"], eigen_smooth=True), halves(method, make)[0])


@pytest.mark.parametrize("name", SMOOTHED)
def test_weighted_activations_add_up_to_the_methods_map(name):
    """What `eigen_smooth` decomposes is what the method adds up."""
    method = getattr(ours, name).explainer()
    seen = []

    def kept(probe):
        seen.append(WEIGHTED[type(method)](probe))
        return seen[-1]

    patched = {**WEIGHTED, type(method): kept}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("camport.compat.pytorch_grad_cam.eigen_smooth.WEIGHTED", patched)
        camport.explain(
            net(GapNet), batch(), EigenSmoothed(method), torch.tensor(CLASSES), "features"
        )
    raw = camport.explain(net(GapNet), batch(), method, torch.tensor(CLASSES), "features").raw
    assert raw.max() > 0
    torch.testing.assert_close(seen[0].sum(1).relu(), raw)


def test_finer_cam_is_grad_cams():
    for options in ({}, {"alpha": 0.6}, {"comparison_categories": [1, 2]}, {"target_idx": 2}):
        right = called(theirs, "FinerCAM", net(), ["features"], None, **options)
        close(called(ours, "FinerCAM", net(), ["features"], None, **options), right)
    base = {"base_method": theirs.LayerCAM}
    right = called(theirs, "FinerCAM", net(), ["features"], None, made=base)
    close(
        called(ours, "FinerCAM", net(), ["features"], None, made={"base_method": ours.LayerCAM}),
        right,
    )


def test_refine_cam_is_grad_cams():
    layers, model = ["features.2", "features"], net()
    modules = [model.get_submodule(layer) for layer in layers]
    right = theirs.RefineCAM(model, modules, base_method=theirs.LayerCAM)(
        batch(), [their_targets.ClassifierOutputTarget(c) for c in CLASSES]
    )
    close(called(ours, "RefineCAM", net(), layers, made={"base_method": ours.LayerCAM}), right)


def test_random_cam_is_a_map_of_random_weights():
    model = net()
    first, again = (called(ours, "RandomCAM", model, ["features"]) for _ in range(2))
    other = called(ours, "RandomCAM", model, ["features"], made={"seed": 1})
    assert (first == again).all()
    assert np.abs(first - other).max() > 0.5


@pytest.mark.parametrize("kind", ONE_NUMBER)
def test_targets_of_classes(kind):
    z = torch.randn(5, 7)
    found, right = (getattr(kinds, kind)(4) for kinds in (our_targets, their_targets))
    torch.testing.assert_close(found(z[0]), right(z[0]))
    torch.testing.assert_close(found(z), right(z))


def test_other_targets():
    z = torch.randn(3, 6, 5)
    mask = (np.arange(30).reshape(6, 5) % 3 == 0).astype(np.float32)
    pairs = [
        (
            kinds.SemanticSegmentationTarget(2, mask),
            kinds.BinaryClassifierOutputTarget(0),
            kinds.RawScoresOutputTarget(),
        )
        for kinds in (our_targets, their_targets)
    ]
    for found, right in zip(*pairs, strict=True):
        torch.testing.assert_close(found(z), right(z))
    logits = torch.randn(7)
    finer = [kinds.FinerWeightedTarget(2, [0, 5], 0.6) for kinds in (our_targets, their_targets)]
    torch.testing.assert_close(finer[0](logits), finer[1](logits))


def test_the_target_of_boxes():
    said = {
        "boxes": torch.tensor([[0.0, 0, 10, 10], [20, 20, 40, 30], [21, 20, 41, 30]]),
        "labels": torch.tensor([3, 1, 1]),
        "scores": torch.tensor([0.9, 0.5, 0.4]),
    }
    asked = np.array([[1.0, 0, 11, 10], [20, 20, 41, 30], [0, 0, 9, 9]])
    pairs = [
        kinds.FasterRCNNBoxScoreTarget([3, 1, 2], asked) for kinds in (our_targets, their_targets)
    ]
    # the third box's class is another's
    assert pairs[0](said).item() == pytest.approx(pairs[1](said).item(), abs=1e-6)
    assert pairs[0](said).item() == pytest.approx(90 / 110 + 0.9 + 200 / 210 + 0.5, abs=1e-6)


class Segments(nn.Module):
    """Three classes a pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Conv2d(6, 3, 3, padding=1)

    def forward(self, x):
        return self.head(self.features(x))


def test_a_segmentation_is_explained_as_by_grad_cam():
    mask = np.zeros((14, 18), np.float32)
    mask[2:8, 3:9] = 1
    maps = []
    for library, kinds in ((ours, our_targets), (theirs, their_targets)):
        model = net(Segments)
        with library.GradCAM(model=model, target_layers=[model.features]) as cam:
            maps.append(
                cam(batch(), [kinds.SemanticSegmentationTarget(c, mask) for c in (2, 1, 0)])
            )
    close(*maps)


class Listed(Net):
    """A dictionary an image, as detectors have."""

    def forward(self, x):
        return [{"scores": z} for z in super().forward(x)]


def test_a_target_reads_whatever_the_model_says_of_an_image():
    with ours.GradCAM(net(Listed), ["features"]) as cam:
        found = cam(batch(), [lambda said, c=c: said["scores"][c] for c in CLASSES])
    close(found, called(ours, "GradCAM", net(), ["features"]))
    assert [z["scores"].shape for z in cam.outputs] == [(5,)] * 3


def test_a_transformer_with_its_reshape_transform_and_without():
    def reshape(tokens):
        return reshape_transforms.vit_reshape_transform(tokens, 7, 9)

    right = called(theirs, "GradCAM", net(TokenNet), ["blocks.0"], reshape=reshape)
    close(called(ours, "GradCAM", net(TokenNet), ["blocks.0"], reshape=reshape), right)
    close(called(ours, "GradCAM", net(TokenNet), ["blocks.0"]), right)


def test_reshape_transforms_are_grad_cams():
    from pytorch_grad_cam.utils import reshape_transforms as right

    tokens = torch.randn(2, 13, 5)
    for name, given in (
        ("vit_reshape_transform", tokens),
        ("swinT_reshape_transform", tokens[:, 1:]),
    ):
        assert torch.equal(
            getattr(reshape_transforms, name)(given, 3, 4), getattr(right, name)(given, 3, 4)
        )


def test_a_reshape_transform_that_computes_is_refused():
    with pytest.raises(InputError, match="does more than arrange what layer 'features' puts out"):
        called(ours, "GradCAM", net(), ["features"], reshape=lambda a: a * 2)
    with pytest.raises(InputError, match=r"fails on what layer 'blocks.0' puts out, \(3, 64, 6\)"):
        called(
            ours,
            "GradCAM",
            net(TokenNet),
            ["blocks.0"],
            reshape=reshape_transforms.vit_reshape_transform,
        )


def test_guided_backpropagation_is_grad_cams():
    class Modules(nn.Sequential):
        """grad-cam's rule acts on modules alone."""

        def __init__(self) -> None:
            layers = [
                nn.Conv2d(3, 6, 3),
                nn.ReLU(),
                nn.Conv2d(6, 8, 3),
                nn.ReLU(),
                nn.AdaptiveAvgPool2d(1),
                nn.Flatten(),
            ]
            super().__init__(*layers, nn.Linear(8, 5))

    for category in (None, 3):
        found, right = (
            library.GuidedBackpropReLUModel(model=net(Modules), device="cpu")(
                batch()[:1], target_category=category
            )
            for library in (ours, theirs)
        )
        assert np.abs(right).max() > 0
        np.testing.assert_allclose(found, right, atol=1e-6)
    with pytest.raises(InputError, match="give one image"):
        ours.GuidedBackpropReLUModel(net(), None)(batch())


def test_pictures_are_grad_cams():
    g = np.random.default_rng(0)
    picture, heat = g.random((20, 30, 3), dtype=np.float32), g.random((20, 30), dtype=np.float32)
    # OpenCV's jet is another table than matplotlib's, by up to a tenth
    for options, bound in (
        ({}, 26),
        ({"use_rgb": True}, 26),
        ({"colormap": 16}, 3),
        ({"colormap": 20}, 3),
    ):
        for weight in ({}, {"image_weight": 0.7}):
            shown = [
                v.show_cam_on_image(picture, heat, **options, **weight)
                for v in (our_images, their_images)
            ]
            assert np.abs(shown[0].astype(int) - shown[1]).max() <= bound
    for given in (picture, (picture * 255).astype(np.uint8)):
        options = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.1]}
        torch.testing.assert_close(
            *(v.preprocess_image(given, **options) for v in (our_images, their_images))
        )
    signed = g.standard_normal((20, 30, 3))
    assert (our_images.deprocess_image(signed) == their_images.deprocess_image(signed)).all()
    maps = g.standard_normal((2, 5, 7)).astype(np.float32)
    np.testing.assert_allclose(
        our_images.scale_cam_image(maps), their_images.scale_cam_image(maps), atol=1e-6
    )
    larger = [v.scale_cam_image(maps, (21, 15)) for v in (our_images, their_images)]
    np.testing.assert_allclose(*larger, atol=1e-5)
    with pytest.raises(InputError, match="reaches 255"):
        our_images.show_cam_on_image(picture * 0 + 255, heat)
    with pytest.raises(InputError, match="OpenCV's number 3; there is 2 \\(jet\\)"):
        our_images.show_cam_on_image(picture, heat, colormap=3)


def test_the_model_is_left_as_it_was_found():
    model = net().train()
    model.features[0].weight.requires_grad_(False)
    with ours.GradCAM(model, [model.features]) as cam:
        cam(batch(), None)
    assert model.training
    assert not any(module._forward_hooks for module in model.modules())
    assert all(p.grad is None for p in model.parameters())
    torch.testing.assert_close(cam.outputs, net()(batch()).detach())


def test_an_error_leaves_the_block():
    with pytest.raises(IndexError), ours.GradCAM(net(), ["features"]):
        [].pop()


def test_what_is_refused():
    kinds = our_targets
    cam = ours.GradCAM(net(), ["features"])
    with pytest.raises(InputError, match="1 target for 3 images; give one an image"):
        cam(batch(), [kinds.ClassifierOutputTarget(1)])
    with pytest.raises(
        InputError, match=r"targets is \[281\]; give a list with a callable an image"
    ):
        cam(batch()[:1], [281])
    with pytest.raises(
        InputError, match=r"class 281 is out of range: the model has 5 classes \(0..4\)"
    ):
        cam(batch()[:1], [kinds.ClassifierOutputTarget(281)])
    with pytest.raises(
        ModelError, match=r"a target failed on the model's outputs, \(1, 5\): IndexError"
    ):
        cam(batch()[:1], [kinds.ClassifierOutputSoftmaxTarget(281)])
    with pytest.raises(InputError, match=r"target 0 gives \(5,\) of an image; wanted one number"):
        cam(batch()[:1], [kinds.RawScoresOutputTarget()])
    with pytest.raises(
        MethodError, match=r"eigen_smooth is there for gradcam, .*; scorecam has no weights"
    ):
        ours.ScoreCAM(net(), ["features"])(batch(), None, eigen_smooth=True)
    with pytest.raises(MethodError, match="GradCAM has no target layers"):
        ours.GradCAM(net(), [])(batch(), None)


@pytest.mark.parametrize(
    "name", ["SESS", "SegEigenCAM", "DeepFeatureFactorization", "run_dff_on_image"]
)
def test_what_is_not_there_says_so_and_names_the_nearest(name):
    with pytest.raises(MethodError, match=f"camport.compat.pytorch_grad_cam has no {name}; "):
        getattr(ours, name)(model=net(), target_layers=["features"])


def test_every_class_of_grad_cam_has_its_name_here():
    missing = {name for name, value in vars(theirs).items() if isinstance(value, type)} - set(
        ours.__all__
    )
    assert missing == set()
    kinds = {name for name, value in vars(their_targets).items() if isinstance(value, type)}
    assert kinds - set(vars(our_targets)) == set()
