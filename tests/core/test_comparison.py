"""Several methods and targets on the same images: each map is the method's own,
in its row and column."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import camport
from camport.errors import InputError, OutputError
from camport.plugins import LayerCAM


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 4),
    ).eval()


IMAGES = torch.rand(2, 3, 24, 32, generator=torch.Generator().manual_seed(0))
LABELS = ["cat", "dog", "cup", "tree"]


@pytest.fixture(scope="module")
def compared():
    return camport.compare(
        net(), IMAGES, ["gradcam", LayerCAM()], ["dog", 2], labels=LABELS, titles=["one", "two"]
    )


def test_each_is_the_methods_own(compared):
    assert compared.methods == ("Grad-CAM", "LayerCAM")
    assert compared.targets == ("dog", "cup")
    for row, target in zip(compared.explanations, (1, 2), strict=True):
        for found, method in zip(row, ("gradcam", "layercam"), strict=True):
            torch.testing.assert_close(
                found.heatmap, camport.explain(net(), IMAGES, method, target).heatmap
            )
            assert found.target.tolist() == [target, target]


def test_without_targets_it_is_the_models_choice():
    found = camport.compare(net(), IMAGES[:1], ["gradcam"], labels=LABELS)
    choice = int(net()(IMAGES[:1]).argmax())
    assert found.explanations[0][0].target.tolist() == [choice]
    assert found.targets == (LABELS[choice],)


def test_grid_has_a_row_for_each_image_and_target(compared):
    one = camport.compare(net(), IMAGES[:1], ["gradcam", "layercam"], [1], labels=LABELS).grid(
        cell=100
    )
    four = compared.grid(cell=100)
    assert four.height > one.height + 3 * 75  # three rows more, of pictures 75 high
    wide = camport.compare(net(), IMAGES[:1], ["gradcam", "layercam", "hirescam", "cam"], [1]).grid(
        cell=100
    )
    assert wide.width > one.width + 150


def test_saved_by_suffix(compared, tmp_path):
    page = compared.save(tmp_path / "c.html", title="Two pictures").read_text(encoding="utf-8")
    assert page.count("<figure>") == 8
    assert page.count("<h2>") == 2
    assert "<h1>Two pictures</h1>" in page
    unnamed = compared.save(tmp_path / "u.html").read_text(encoding="utf-8")
    layers = ", ".join(compared.explanations[0][0].layers)
    assert f"<h1>Grad-CAM, LayerCAM of {type(net()).__name__} at {layers}</h1>" in unnamed
    assert compared.grid(cell=100).height > compared.grid(cell=100, title="").height + 20
    with Image.open(compared.save(tmp_path / "c.png")) as picture:
        assert picture.width > 500
    with pytest.raises(OutputError, match=r"\.html"):
        compared.save(tmp_path / "c.txt")


def test_a_method_twice_is_told_apart():
    found = camport.compare(net(), IMAGES, [LayerCAM(), LayerCAM(gamma=1.0), "gradcam"])
    assert len(set(found.methods)) == 3
    assert "gamma=1.0" in found.methods[1]


def test_bad_input():
    for methods in ("gradcam", []):
        with pytest.raises(InputError, match="give a list of one or more"):
            camport.compare(net(), IMAGES, methods)
    with pytest.raises(InputError, match="give a list, one entry for each row"):
        camport.compare(net(), IMAGES, ["gradcam"], [])
    with pytest.raises(InputError, match="3 titles for 2 images"):
        camport.compare(net(), IMAGES, ["gradcam"], titles=["a", "b", "c"])
    with pytest.raises(InputError, match="1 pictures for 2 images"):
        camport.compare(net(), IMAGES, ["gradcam"], pictures=[np.zeros((24, 32, 3), np.uint8)])


def test_an_explanation_shows_target_and_score():
    found = camport.explain(net(), IMAGES, "gradcam", 2)
    score = net()(IMAGES)[:, 2]
    assert found.captions() == [f"target 2, score {float(value):.4g}" for value in score.detach()]
    assert found._repr_png_().startswith(b"\x89PNG")
    figure = found.figure()
    titles = [axis.get_title() for axis in figure.axes if axis.get_title()]
    assert titles == found.captions()
    assert figure.get_suptitle() == "gradcam at 1"
    assert figure.axes[0].images[0].get_array().shape == (24, 32, 3)
