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
            "ultralytics:best.pt or yolov5:best.pt; the weights of another: --weights best.pt",
        ),
        ("yolov8:best.pt", "YOLOv8 to 12 are loaded by ultralytics:FILE"),
        ("nothing", "model 'nothing' is no SPEC; it is one of torchvision:NAME, timm:NAME"),
    ],
)
def test_remedy(spec, remedy):
    with pytest.raises(CamportError, match=remedy):
        load_model(spec)
