"""`camport.compat.torchcam` beside torchcam itself, on small seeded networks: numbers,
not shapes."""

import numpy as np
import pytest
import torch
from PIL import Image

import camport
from camport import plugins
from camport.compat.torchcam import methods as ours
from camport.compat.torchcam import utils
from camport.errors import InputError, MethodError, UnknownNameError
from tests.nets import GapNet, Net, images, seeded

theirs = pytest.importorskip("torchcam.methods", reason='pip install "camport[oracles]"')

pytestmark = pytest.mark.filterwarnings("ignore")
CLASSES = [1, 3, 0]
LAYERS = ["features.2", "features"]


def net(make=Net):
    return seeded(make(), dtype=torch.float32)


def batch(b=3):
    return images(b, (14, 18), torch.float32)


def called(library, name, layer="features", classes=CLASSES, make=Net, made=None, **options):
    model = net(make)
    with getattr(library, name)(model, layer, **(made or {})) as extractor:
        scores = model(batch())
        return [cam.detach() for cam in extractor(classes, scores, **options)]


def close(found, right, bound=1e-4):
    assert len(found) == len(right)
    for f, r in zip(found, right, strict=True):
        scale = r.abs().max()
        assert scale > 0
        torch.testing.assert_close(f / scale, r / scale, atol=bound, rtol=0)


@pytest.mark.parametrize("classes", [CLASSES, 2])
@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM", "XGradCAM"])
def test_maps_are_torchcams(name, classes):
    close(called(ours, name, "features.2", classes), called(theirs, name, "features.2", classes))


def test_cam_is_torchcams():
    right = called(theirs, "CAM", make=GapNet, made={"fc_layer": "fc"})
    close(called(ours, "CAM", make=GapNet, made={"fc_layer": "fc"}), right)


@pytest.mark.parametrize("name", ["GradCAM", "LayerCAM"])
def test_several_layers_and_their_fusion(name):
    found, right = called(ours, name, LAYERS), called(theirs, name, LAYERS)
    close(found, right)
    close([getattr(ours, name).fuse_cams(found)], [getattr(theirs, name).fuse_cams(right)])
    shape = (20, 11)
    close(
        [getattr(ours, name).fuse_cams(found, shape)],
        [getattr(theirs, name).fuse_cams(right, shape)],
    )
    assert torch.equal(ours.GradCAM.fuse_cams(found[:1]), found[0])


def test_maps_as_they_are():
    close(
        called(ours, "GradCAM", normalized=False), called(theirs, "GradCAM", normalized=False), 1e-5
    )


@pytest.mark.parametrize("name", ["GradCAMpp", "ScoreCAM", "ISCAM", "XGradCAM"])
def test_a_preset_gives_torchcams_own_formula(name):
    right = called(theirs, name, normalized=False)
    close(called(ours, name, made={"preset": "torchcam"}, normalized=False), right, 1e-5)


@pytest.mark.parametrize(
    ("name", "method", "made"),
    [
        ("GradCAMpp", plugins.GradCAMPlusPlus(), {}),
        (
            "SmoothGradCAMpp",
            plugins.SmoothGradCAMPlusPlus(samples=3, noise=0.2),
            {"num_samples": 3, "std": 0.2},
        ),
        ("ScoreCAM", plugins.ScoreCAM(), {"batch_size": 4}),
        ("SSCAM", plugins.SSCAM(samples=3, sigma=1.5), {"num_samples": 3, "std": 1.5}),
        ("ISCAM", plugins.ISCAM(samples=4), {"num_samples": 4}),
    ],
)
def test_maps_are_camports_own_where_torchcam_departs_from_the_paper(name, method, made):
    right = camport.explain(net(), batch(), method, torch.tensor(CLASSES), "features").raw.relu()
    close(called(ours, name, made=made, normalized=False), [right], 1e-5)


def test_the_layer_is_chosen_where_none_is_named():
    model = net()
    with ours.GradCAM(model) as extractor:
        model(batch())
        (found,) = extractor(2)
    assert extractor.target_names == list(camport.explain(net(), batch(), "gradcam", 2).layers)
    close([found], [camport.core.minmax(camport.explain(net(), batch(), "gradcam", 2).raw)])


def test_targets_of_ones_own():
    def margin(z):
        return z[1] - z[0]

    found, right = [], []
    for library, maps in ((ours, found), (theirs, right)):
        model = net()
        with library.GradCAM(model, "features") as extractor:
            scores = model(batch())
            maps.extend(extractor(scores=scores, targets=margin))
    close(found, right)


def test_refine_cam_is_torchcams():
    right = called(theirs, "RefineCAM", LAYERS, made={"base_method": theirs.LayerCAM})
    close(called(ours, "RefineCAM", LAYERS, made={"base_method": ours.LayerCAM}), right)


def test_it_works_where_nothing_is_recorded():
    """torchcam needs the graph of the user's own forward pass."""
    model = net()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with ours.GradCAM(model, "features") as extractor, torch.inference_mode():
        model(batch())
        found = extractor(CLASSES)
    close(found, called(theirs, "GradCAM"))


def test_the_last_images_are_explained_and_the_hook_goes():
    model = net()
    with ours.GradCAM(model, model.features) as extractor:
        model(batch().flip(0))
        given = batch()
        model(given)
        given.zero_()  # what the model saw is explained
        first, again = extractor(CLASSES), extractor(CLASSES)
        extractor.disable_hooks()
        model(batch().flip(0))
        close(extractor(CLASSES), first)
        assert len(model._forward_pre_hooks) == 1
    close(first, again)
    close(
        first,
        [
            camport.core.minmax(
                camport.explain(model, batch(), "gradcam", torch.tensor(CLASSES), "features").raw
            )
        ],
    )
    assert not model._forward_pre_hooks
    assert not any(module._forward_hooks for module in model.modules())


def test_what_is_refused():
    model = net()
    extractor = ours.GradCAM(model, "features")
    with pytest.raises(InputError, match="GradCAM has seen no forward pass"):
        extractor(1)
    model(batch())
    with pytest.raises(InputError, match="give either class_idx"):
        extractor()
    with pytest.raises(InputError, match="class_idx is -1; give a class, 0 or more"):
        extractor(-1)
    with pytest.raises(InputError, match="2 targets for 3 images"):
        extractor([1, 2])
    for kind in (ours.FinerCAM, ours.LeGrad):
        with pytest.raises(
            MethodError, match=rf"camport.compat.torchcam has no {kind.__name__}; .*camport.explain"
        ):
            kind(model, "features")
    with pytest.raises(InputError, match="RefineCAM takes a list of two layers or more"):
        ours.RefineCAM(model, "features")


def test_the_overlay_is_torchcams():
    from torchcam.utils import overlay_mask

    g = np.random.default_rng(0)
    photo = Image.fromarray(g.integers(0, 255, (40, 60, 3), dtype=np.uint8))
    heat = Image.fromarray(g.random((5, 7), dtype=np.float32) * 0.8 + 0.1)
    for options in ({}, {"alpha": 0.5, "colormap": "viridis"}):
        found, right = (
            np.asarray(draw(photo, heat, **options)) for draw in (utils.overlay_mask, overlay_mask)
        )
        assert np.abs(found.astype(int) - right).max() <= 3
    with pytest.raises(InputError, match="give two PIL images"):
        utils.overlay_mask(photo, np.zeros((2, 2)))
    with pytest.raises(InputError, match=r"alpha is 1\.0"):
        utils.overlay_mask(photo, heat, alpha=1.0)
    with pytest.raises(UnknownNameError, match="unknown colormap 'virdis'; did you mean 'viridis'"):
        utils.overlay_mask(photo, heat, colormap="virdis")
