"""The layers of a detector are its head's inputs,
however the head is built and in whatever order a file has it."""

import onnx
import pytest
import torch

import camport
from camport.adapters import DetectionAdapter
from camport.models import load_model
from tests.adapters.detectors import ClassicHead, Detector, FreeHead, awake, photographs
from tests.adapters.pyramids import Headed, Pyramid
from tests.models.orders import ORDERS, reordered

pytestmark = pytest.mark.filterwarnings(
    "ignore::camport.errors.DoubtWarning", "ignore::camport.errors.FlatMapWarning"
)
TRUNK = ("trunk.lateral.1", "trunk.lateral.0", "trunk.attention")
LAYERS = {
    "decoupled": TRUNK,
    "coupled": ("both.0.0", "both.1.0", "both.2.0"),
    "distances": TRUNK,
    "split": ("both.0.0", "both.1.0", "both.2.0"),
    "last": TRUNK,
    "shuffled": TRUNK,
    "scaled": TRUNK,
    "pooled": TRUNK,
    "shared": ("level.0", "level.1", "level.2"),
}


def one_of_each_level(model, images):
    """A candidate of each level, whose number of rows is 16 * 24 / 4^i of images of 64 x 96."""
    with torch.no_grad():
        rows = model(images)[0, :, 4:]
    index = torch.tensor(
        [100, 384 + 50, 384 + 96 + 11, *([384 + 96 + 24 + 2] if len(rows) > 504 else [])]
    )
    return {"index": index, "class_ids": rows[index].argmax(1)}


# a norm sees no length: products cancel
@pytest.mark.filterwarnings("ignore::camport.errors.GuardWarning")
@pytest.mark.parametrize("kind", LAYERS)
def test_layers_are_where_all_of_a_levels_branches_begin(kind):
    model, images = awake(Pyramid(kind)), photographs()
    asked = one_of_each_level(model, images)
    bound = camport.bind(model, "layercam", adapter=DetectionAdapter(format="rows"))
    found = bound(images, asked)
    assert bound.layers == LAYERS[kind]
    taken = [torch.empty(0)] * len(bound.layers)
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda m, x, y, i=i: taken.__setitem__(i, y)
        )
        for i, name in enumerate(bound.layers)
    ]
    images = images.requires_grad_()
    logits = torch.logit(model(images)[0, asked["index"], 4 + asked["class_ids"]])
    for handle in handles:
        handle.remove()
    for row, logit in enumerate(logits):
        own = torch.autograd.grad(logit, taken, retain_graph=True)
        assert any(float(g.abs().max()) > 0 for g in own)
        for i, gradient in enumerate(own):
            torch.testing.assert_close(found.gradients[i][row], gradient[0], rtol=1e-4, atol=1e-8)


def test_a_head_that_projects_its_levels_is_explained_at_what_it_takes_in():
    bound = camport.bind(awake(Headed()), "layercam", adapter=DetectionAdapter(format="rows"))
    found = bound(photographs(), {"index": [100, 384 + 50, 384 + 96 + 11], "class_ids": 1})
    assert bound.layers == TRUNK
    for row in range(3):
        assert float(found.gradients[row][row].abs().max()) > 0


HEADS = {
    "classic": (lambda: Detector(ClassicHead(alone=True)), ("model.2", "model.3", "model.4")),
    "free": (lambda: Detector(FreeHead("nothing")), ("model.2", "model.3", "model.4")),
    "attention": (lambda: Pyramid("distances"), TRUNK),
}


@pytest.fixture(scope="module", params=HEADS)
def written(request, tmp_path_factory):
    """A network, the inputs of its head, and the file that PyTorch's exporter makes of it."""
    make, layers = HEADS[request.param]
    model, images = awake(make()).float(), photographs().float()
    path = tmp_path_factory.mktemp("order") / "best.onnx"
    with torch.no_grad():
        model(images)  # caches its points
    torch.onnx.export(model, (images,), path, dynamo=True, verbose=False, input_names=["images"])
    return model, layers, path, images


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("order", ORDERS)
def test_every_order_of_a_files_nodes_gives_the_networks_maps(written, order, seed, tmp_path):
    model, layers, path, images = written
    file = reordered(path, order, tmp_path / "other.onnx", seed)
    onnx.checker.check_model(str(file))
    adapter = DetectionAdapter(classes=3 if isinstance(model, Pyramid) else 4)
    expected = camport.bind(model, layer=list(layers), adapter=adapter)
    with torch.no_grad():
        n = max(model(images).shape[1:])
    index = torch.arange(n // 40, n, n // 10)
    asked = {"index": index, "class_ids": torch.arange(len(index)) % 3}
    one = expected(images, asked)
    bound = camport.bind(load_model(str(file)).model, adapter=adapter)
    other = bound(images, asked)
    for a, b in zip(other.activations, one.activations, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        other.raw, one.raw, rtol=1e-4, atol=1e-5 * float(one.raw.abs().max())
    )
    torch.testing.assert_close(other.heatmap, one.heatmap, rtol=0, atol=1e-4)
