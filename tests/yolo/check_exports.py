"""What ultralytics' exporter writes, as it does by default and otherwise, gives the checkpoint's
maps: run where the package is installed. The head's inputs are those that its own configuration
    names.
"""

import copy
import importlib
from pathlib import Path

import pytest
import torch
from torch import nn

import camport
from camport.adapters import DetectionAdapter
from camport.models import load_model
from tests.models.orders import reordered
from tests.yolo.networks import finding, of_three

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.CamportWarning")
SIZE = (96, 160)
DETECTORS = {
    "yolov8n": "v8/yolov8.yaml",
    "yolov9t": "v9/yolov9t.yaml",
    "yolov10n": "v10/yolov10n.yaml",
    "yolo11n": "11/yolo11.yaml",
    "yolo12n": "12/yolo12.yaml",
    "yolo26n": "26/yolo26.yaml",
    "yolov8n-seg": "v8/yolov8-seg.yaml",
    "yolov8n-pose": "v8/yolov8-pose.yaml",
    "yolov8n-obb": "v8/yolov8-obb.yaml",
}


@pytest.fixture(scope="module", params=DETECTORS)
def checkpoint(request, tmp_path_factory):
    """best.pt of a network with classes of its own."""
    ultralytics = importlib.import_module("ultralytics")
    folder = tmp_path_factory.mktemp(request.param)
    configs = Path(ultralytics.__file__).parent / "cfg" / "models"
    config = of_three(configs / DETECTORS[request.param], folder).rename(
        folder / f"{request.param}.yaml"
    )
    network = ultralytics.YOLO(str(config), verbose=False)
    finding(network.model)
    network.save(folder / "best.pt")
    return folder / "best.pt"


def exported(file: Path, **options: object) -> Path:
    network = importlib.import_module("ultralytics").YOLO(str(file))
    return Path(network.export(format="onnx", imgsz=list(SIZE), **options))


def explained(file: Path) -> tuple[nn.Module, torch.Tensor, DetectionAdapter]:
    """The network, an image, and an adapter that lists whatever is found."""
    model = load_model(f"ultralytics:{file}", trust_checkpoint=True).model
    images = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(5))
    return model, images, DetectionAdapter(threshold=0.0, most=4)


def head_inputs(model: nn.Module) -> list[str]:
    return [f"model.{i}" for i in model.model[-1].f]


def compare(found: camport.Explanation, expected: camport.Explanation) -> None:
    for one, other in zip(found.activations, expected.activations, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5 * float(other.abs().max()))
    torch.testing.assert_close(
        found.raw, expected.raw, rtol=0, atol=1e-5 * float(expected.raw.abs().max())
    )
    torch.testing.assert_close(found.heatmap, expected.heatmap, rtol=0, atol=1e-5)


def test_default_dynamic_and_in_any_order(checkpoint):
    model, images, adapter = explained(checkpoint)
    bound = camport.bind(model, "layercam", head_inputs(model), adapter=adapter)
    with torch.no_grad():
        bound(images)
        said = bound.adapter._candidates(bound.adapter.call(model.eval(), images))
    n = said.logits.shape[1]
    index = torch.arange(n // 30, n, n // 15)
    # not sure of them: p is not rounded to 1
    asked = {"index": index, "class_ids": said.logits[0, index].argmin(1)}
    expected = bound(images, asked)
    assert camport.bind(model, "layercam", adapter=adapter)(images, asked).layers == bound.layers
    for options in ({}, {"dynamic": True}, {"simplify": False}):
        file = exported(checkpoint, **options)
        if options.get("simplify") is False:
            file = reordered(file, "shuffled", file.with_name("shuffled.onnx"))
        compare(
            camport.bind(load_model(str(file)).model, "layercam", adapter=adapter)(images, asked),
            expected,
        )


def test_suppression_inside(checkpoint):
    """Its rows are candidates of the checkpoint's, box for box."""
    model, images, adapter = explained(checkpoint)
    file = exported(checkpoint, nms=True, conf=0.01)
    found = camport.bind(load_model(str(file)).model, "layercam", adapter=adapter)(images)
    bound = camport.bind(model, "layercam", head_inputs(model), adapter=adapter)
    bound(images)
    with torch.no_grad():
        said = bound.adapter._candidates(bound.adapter.call(copy.deepcopy(model).eval(), images))
    apart = (found.figures["boxes"][:, None] - said.boxes).abs().amax(2)
    apart = (
        apart
        + 100 * (said.probability[0].T[found.target] - found.figures["confidence"][:, None]).abs()
    )
    assert float(apart.amin(1).max()) < 0.01
    expected = bound(images, {"index": apart.argmin(1), "class_ids": found.target})
    compare(found, expected)
