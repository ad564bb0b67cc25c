"""A SPEC that is none is answered with what was meant."""

import pytest

from camport.errors import CamportError
from camport.models import load_model


@pytest.mark.parametrize(
    ("spec", "remedy"),
    [
        ("resnet50", r"did you mean torchvision:resnet50\? it is one of"),
        ("net.h5", "is TensorFlow's: convert it to .onnx"),
        ("net.tflite", "is TensorFlow's: convert it to .onnx"),
        (
            "best.pt",
            "^best.pt does not exist; .*: ultralytics:best.pt or yolov5:best.pt; the weights of"
            " another: --model torchvision:resnet18 --weights best.pt;",
        ),
        ("best.safetensors", "'best.safetensors' is no SPEC; the weights of another: --model "),
        (
            "posenett:net",
            r"unknown model family 'posenett'; there is: .* \(nor can a module 'posenett' be imported"
            r" here, for a model of your own as package\.module:callable\)$",
        ),
        ("yolov8:best.pt", "YOLOv8 to 12 are loaded by ultralytics:FILE"),
        ("nothing", "model 'nothing' is no SPEC; it is one of torchvision:NAME, timm:NAME"),
    ],
)
def test_remedy(spec, remedy):
    with pytest.raises(CamportError, match=remedy):
        load_model(spec)


def test_a_file_that_is_there_is_not_said_to_be_missing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "best.pt").write_bytes(b"")
    with pytest.raises(CamportError, match=r"^model 'best\.pt' is no SPEC; a YOLO checkpoint"):
        load_model("best.pt")
