"""Whole networks of both exporters: outputs, gradients,
heatmaps and export are those of the original."""

import numpy as np
import onnx
import pytest
import torch
import torchvision

import camport
from camport.export import to_onnx
from camport.models import load_model
from camport.models.onnx import load_onnx
from tests.marks import mostly_rare, rare
from tests.models.files import run_runtime
from tests.models.networks import Detector, awake, export

SIZE = 64


def mobilenet():
    blocks = [
        (16, 3, 16, 16, True, "RE", 2, 1),
        (16, 5, 48, 24, True, "HS", 2, 1),
        (24, 3, 72, 24, False, "HS", 1, 1),
    ]
    settings = [
        torchvision.models.mobilenetv3.InvertedResidualConfig(*block, 1.0) for block in blocks
    ]
    return torchvision.models.MobileNetV3(settings, 64, num_classes=10)


def vit():
    return torchvision.models.VisionTransformer(SIZE, 16, 2, 2, 32, 48, num_classes=10)


MODELS = {
    "resnet": lambda: torchvision.models.ResNet(
        torchvision.models.resnet.BasicBlock, [1, 1, 1, 2], num_classes=10
    ),
    "mobilenet_v3": mobilenet,
    "convnext": lambda: torchvision.models.ConvNeXt(
        [torchvision.models.convnext.CNBlockConfig(c, n, 1) for c, n in ((8, 16), (16, None))],
        num_classes=10,
    ),
    "vit": vit,
    "detector": Detector,
}
EXPORTS = [(name, dynamo) for name in MODELS for dynamo in (False, True)]
ALWAYS = (("resnet", False), ("vit", True))


@pytest.fixture(scope="module")
def exported(shared):
    """name, dynamo -> (the original, path of its file); each made once."""

    def make(name, dynamo, dynamic=True):
        if name == "vit" and dynamo and dynamic and torch.__version__ < (2, 10):
            pytest.skip("the exporter of PyTorch 2.9 itself refuses any batch of this network")
        torch.manual_seed(0)
        model = awake(MODELS[name]())

        def write(folder):
            export(
                model,
                torch.randn(2 if dynamic else 1, 3, SIZE, SIZE),
                folder / f"{name}.onnx",
                dynamo,
                dynamic,
            )

        return model, shared(f"imported-{name}-{dynamo}-{dynamic}", write)[0] / f"{name}.onnx"

    return make


def images(b):
    return torch.randn(b, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(b))


def relative(a, b):
    return float((a - b).abs().max() / b.abs().max())


@pytest.mark.parametrize(
    ("name", "dynamo"),
    mostly_rare(EXPORTS, ALWAYS),
)
def test_outputs_and_gradients_are_the_originals(exported, name, dynamo):
    model, path = exported(name, dynamo)
    loaded = load_onnx(path)
    assert loaded.preprocess.size == (SIZE, SIZE)
    for b in (1, 3):
        x = images(b)
        with torch.no_grad():
            found = loaded.model(x)
        assert relative(found, torch.from_numpy(run_runtime(path, [x.numpy()])[0])) < 1e-5
    x, y = images(2).requires_grad_(), images(2).requires_grad_()
    direction = torch.randn(found[:1].shape)
    (model(x) * direction).sum().backward()
    (loaded.model(y) * direction).sum().backward()
    assert relative(y.grad, x.grad) < 1e-4


@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")
@pytest.mark.parametrize(
    ("name", "dynamo"),
    mostly_rare([case for case in EXPORTS if case[0] != "detector"], ALWAYS),
)
def test_the_layer_chosen_and_its_heatmap_are_the_originals(exported, name, dynamo):
    model, path = exported(name, dynamo)
    target = torch.tensor([3, 5])
    wanted = camport.bind(model, "gradcam")(images(2), target)
    found = camport.bind(load_onnx(path).model, "gradcam")(images(2), target)
    assert relative(found.gradients[0], wanted.gradients[0]) < 1e-4
    assert (found.heatmap - wanted.heatmap).abs().max() < 1e-3


@pytest.mark.parametrize("dynamo", [False, True])
def test_layers_go_by_the_names_of_modules_nodes_and_tensors(exported, dynamo):
    model, path = exported("resnet", dynamo)
    imported = load_onnx(path).model
    last = [n for n in onnx.load(path).graph.node if n.op_type == "Relu"][-1]
    wanted = camport.bind(model, "gradcam", "layer4.1")(images(1)).heatmap
    for name in (last.name, last.output[0], "layer4.1", "layer4"):
        assert torch.allclose(
            camport.bind(imported, "gradcam", name)(images(1)).heatmap, wanted, atol=1e-4
        )
    with pytest.raises(camport.errors.LayerError, match=r"nearest: .*layer4"):
        camport.bind(imported, "gradcam", "layer4_1_reluu")


@pytest.mark.parametrize("method", ["saliency", "layercam"])
def test_other_methods_agree(exported, method):
    model, path = exported("resnet", False)
    wanted = camport.bind(model, method)(images(2), 3).heatmap
    found = camport.bind(load_onnx(path).model, method)(images(2), 3).heatmap
    assert (found - wanted).abs().max() < 1e-3


@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")
@pytest.mark.parametrize(("name", "dynamo"), [("resnet", False), *rare(("mobilenet_v3", True))])
def test_an_imported_model_is_exported_with_a_dynamic_batch(exported, tmp_path, name, dynamo):
    bound = camport.bind(load_onnx(exported(name, dynamo)[1]).model, "gradcam")
    to_onnx(bound, tmp_path / "explained.onnx", images(2))  # proves itself at batches of 1 and 3
    heatmap = bound(images(4), 1).heatmap
    found = camport.runtime.load(tmp_path / "explained.onnx")(
        images(4).numpy(), np.full(4, 1)
    ).heatmap
    np.testing.assert_allclose(found, heatmap.numpy(), atol=2e-4)


@pytest.mark.parametrize(("name", "dynamo"), [("resnet", False), ("detector", True)])
def test_a_file_for_one_image_takes_several_where_only_shapes_say_one(exported, name, dynamo):
    model, path = exported(name, dynamo, dynamic=False)
    with torch.no_grad():
        assert relative(load_onnx(path).model(images(3)), model(images(3))) < 1e-5


def test_where_the_batch_is_built_in_other_sizes_are_refused(exported):
    imported = load_onnx(exported("vit", False, dynamic=False)[1]).model
    assert imported(images(1)).shape == (1, 10)
    with pytest.raises(camport.errors.InputError, match="exported for a batch of 1"):
        imported(images(3))


def test_images_of_another_size_are_refused(exported):
    imported = load_onnx(exported("resnet", True)[1]).model
    with pytest.raises(camport.errors.InputError, match=r"takes \?x3x64x64"):
        imported(torch.zeros(1, 3, 32, 64))


def test_a_spec_names_a_file(exported):
    path = exported("resnet", True)[1]
    assert load_model(str(path), "none").preprocess.size == (SIZE, SIZE)
    with pytest.raises(camport.errors.InputError, match="own weights"):
        load_model(str(path), "other.pth")
