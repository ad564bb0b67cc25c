"""yolov5n of both packages and yolov8n, as their configurations have them:
run where the packages are installed."""

import warnings

import numpy as np
import pytest
import torch

import camport
from benchmarks.detectors.list import detector
from benchmarks.detectors.measure import explained, exported
from camport.adapters import DetectionAdapter
from camport.errors import CamportWarning
from camport.runtime import Preprocess, detections, load
from tests.yolo.networks import street

LAYERS = {
    "yolov5: yolov5n": ("yolov5", ("model.17", "model.20", "model.23")),
    "ultralytics: yolov5n": ("yolov8", ("model.17", "model.20", "model.23")),
    "ultralytics: yolov8n": ("yolov8", ("model.15", "model.18", "model.21")),
}
pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.CamportWarning")


EXPORTED = [name for name in LAYERS if name.startswith("ultralytics")]
"""That of yolov5 is exported in `check_files.py`."""


@pytest.fixture(scope="module", params=LAYERS)
def network(request):
    return (request.param, *detector(request.param))


def test_gradient_map_and_geometry(network):
    name, model, images = network
    found = explained(model, images)
    assert (found.form, found.layers) == LAYERS[name]
    assert found.largest > 0
    assert found.gradient < 1e-6
    assert found.geometry < 0.06


def test_the_score_is_the_logit_of_the_packages_own_table(network):
    name, model, images = network
    bound = camport.bind(model.double(), adapter=DetectionAdapter(threshold=0.0, most=3))
    found = bound(images[:1].double())
    with torch.no_grad():
        table = model(images[:1].double())[0][0]
    rows = table if LAYERS[name][0] == "yolov5" else table.T
    probabilities = rows[:, 5:] if LAYERS[name][0] == "yolov5" else rows[:, 4:]
    for index, label, score, box in zip(
        found.figures["index"], found.target, found.score, found.figures["boxes"], strict=True
    ):
        assert float(score) == pytest.approx(
            float(torch.logit(probabilities[index, label])), rel=1e-5
        )
        centre, size = rows[index, :2], rows[index, 2:4]
        torch.testing.assert_close(
            box.double(), torch.cat([centre - size / 2, centre + size / 2]), rtol=1e-5, atol=1e-3
        )
    model.float()


def test_a_photograph_that_is_no_square(network, tmp_path):
    """Its letterbox is undone: the map has its size, and the hottest place is the same one."""
    from PIL import Image

    model = network[1]
    pixels, placement = Preprocess(size=(160, 160), fit="letterbox", stride=32).apply(
        Image.open(street(tmp_path))
    )
    found = camport.bind(model, adapter=DetectionAdapter(threshold=0.0, most=1))(
        torch.from_numpy(pixels)[None]
    )
    laid = placement.to_image(found.heatmap[0].numpy())
    assert laid.shape == (288, 480)
    y, x = np.unravel_index(laid.argmax(), laid.shape)
    box = placement.boxes_to_network(np.array([[x, y, x + 1, y + 1]], np.float64))[0]
    near = found.heatmap[
        0, int(box[1]) : int(np.ceil(box[3])) + 1, int(box[0]) : int(np.ceil(box[2])) + 1
    ]
    assert float(near.max()) > 0.95


@pytest.mark.parametrize("network", EXPORTED, indirect=True)
def test_exported(network, tmp_path):
    _, model, images = network
    line = exported(model, images, tmp_path / "odam.onnx")
    assert line["error"] <= max(3 * line["eager"], 1e-5)
    bound = camport.bind(model, adapter=DetectionAdapter(threshold=0.0, most=4))
    eager = bound(images[1:])
    explainer = load(tmp_path / "odam.onnx", ["cpu"])
    repeated = np.repeat(images[1:].numpy(), len(eager.score), 0)
    boxes, classes = eager.figures["boxes"].numpy(), eager.target.numpy()
    result = explainer(repeated, boxes=boxes, class_ids=classes)
    # a file is asked by box, and a neighbour that is surer may lie nearer than the candidate that
    # was listed
    asked = bound(images[1:], {"boxes": boxes, "class_ids": classes})
    np.testing.assert_allclose(result.score, asked.score, rtol=1e-3, atol=1e-4)
    listed = detections(result, explainer.metadata["adapter"], images.shape[2:], confidence=0.0)
    best = int(listed.confidence.argmax())
    np.testing.assert_allclose(listed.boxes[best], boxes[0], atol=1e-2)


def test_after_a_prediction_of_the_packages_own(network):
    """Anchors cached in inference mode, training mode,
    and gradients switched off for the weights."""
    _, model, images = network
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CamportWarning)
        bound = camport.bind(model, adapter=DetectionAdapter(threshold=0.0, most=1))
        expected = bound(images[:1])
        head = model.model[-1]
        # as a network that has run at no size yet
        for cache in ("shape", "grid", "anchor_grid"):
            if isinstance(getattr(head, cache, None), list):
                setattr(head, cache, [torch.empty(0)] * head.nl)
            elif hasattr(head, cache):
                setattr(head, cache, None)
        with torch.inference_mode():
            model(images[:1])
        model.requires_grad_(False).train()
        torch.testing.assert_close(bound(images[:1]).raw, expected.raw)
        assert model.training
        model.eval().requires_grad_(True)
