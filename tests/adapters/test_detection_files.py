"""Detectors that are .onnx files: the levels of their pyramid, and the classes that they name."""

import onnx
import pytest
import torch

import camport
from camport.adapters import DetectionAdapter
from camport.models import load_model
from tests.adapters.detectors import ClassicHead, Detector, FreeHead, awake, photographs

pytestmark = pytest.mark.filterwarnings("ignore")
ALONE = {
    "yolov5": lambda: ClassicHead(alone=True),
    "yolov8": lambda: FreeHead("nothing"),
    "yolov8 with points": lambda: FreeHead("nothing", extra=5),
}


def written(head, path, task="detect"):
    """The network, and the file that a package's exporter makes of it."""
    model, images = awake(Detector(head)).float(), photographs().float()
    model(images)  # caches its points
    torch.onnx.export(model, (images,), path, dynamo=True, verbose=False, input_names=["images"])
    file = onnx.load(path)
    notes = {"stride": "32", "names": str(dict(enumerate("abcd"))), "task": task}
    for key, value in notes.items():
        file.metadata_props.add(key=key, value=value)
    onnx.save(file, path)
    return model, images


@pytest.mark.parametrize("name", ALONE)
def test_a_file_is_explained_where_its_network_is(name, tmp_path):
    """Three levels, though no node takes in more than one; key points are not taken for classes."""
    model, images = written(
        ALONE[name](), tmp_path / "best.onnx", "pose" if "points" in name else "detect"
    )
    loaded = load_model(str(tmp_path / "best.onnx"))
    assert (loaded.adapter, loaded.labels) == ("detection", tuple("abcd"))
    adapter = DetectionAdapter(threshold=0.0, most=3)
    expected = camport.bind(model, "hirescam", adapter=adapter)(images)
    asked = {"index": expected.figures["index"], "class_ids": expected.target}
    bound = camport.bind(loaded.model, "hirescam", adapter=adapter)
    found = bound(images, asked)
    assert bound.adapter.form.classes == 4
    assert len(bound.layers) == 3
    for one, other in zip(found.activations, expected.activations, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    for one, other in zip(found.gradients, expected.gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)
    assert found.raw.max() > 0
    torch.testing.assert_close(found.raw, expected.raw, rtol=1e-3, atol=1e-5)
    assert camport.bind(loaded.model, adapter=adapter)(images).target.max() < 4
