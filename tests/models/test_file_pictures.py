"""How a file wants its pictures, as its sizes and its metadata tell."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from camport.cli import main
from camport.models import load_model
from camport.runtime import Preprocess
from tests.models.files import real

YOLO = {"stride": "32", "names": "{0: 'ship', 1: 'plane'}"}


def saved(path, sizes, metadata=None, kind=TensorProto.FLOAT):
    """A small classifier of images of these sizes."""
    nodes = [
        helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT),
        helper.make_node("Conv", ["x", "w"], ["maps"]),
        helper.make_node("Relu", ["maps"], ["positive"]),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", kind, sizes)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["b", 2])],
        [numpy_helper.from_array(real(2, 3, 3, 3), "w")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    helper.set_model_props(proto, metadata or {})
    onnx.save(proto, path)
    return str(path)


FREE, FIXED = ["b", 3, "h", "w"], ["b", 3, 96, 160]


@pytest.mark.parametrize(
    ("sizes", "more", "wanted", "adapter"),
    [
        (FREE, {"task": "detect", "imgsz": "[96, 160]"}, {"fit": "letterbox", "stride": 32}, "detection"),
        (FREE, {"imgsz": "[96, 160]"}, {"fit": "letterbox", "stride": 32}, "detection"),
        (FREE, {"imgsz": "96", "stride": "64"}, {"size": (96, 96), "fit": "letterbox", "stride": 64}, "detection"),
        (FIXED, {"task": "segment", "imgsz": "[640, 640]"}, {"fit": "letterbox"}, "detection"),
        (FREE, {"task": "classify", "imgsz": "[96, 160]"}, {"fit": "crop"}, "classification"),
        (FREE, {}, {"size": None}, "detection"),
        (FREE, {"imgsz": "a picture"}, {"size": None}, "detection"),
    ],
)  # fmt: skip
def test_what_a_yolo_export_says(tmp_path, sizes, more, wanted, adapter):
    loaded = load_model(saved(tmp_path / "f.onnx", sizes, {**YOLO, **more}))
    assert loaded.preprocess == Preprocess(**{"size": (96, 160), **wanted})
    assert (loaded.adapter, loaded.labels, loaded.guessed) == (adapter, ("ship", "plane"), False)


@pytest.mark.parametrize("size", [(64, 96), (427, 640)])
def test_a_picture_is_letterboxed_whatever_its_sides_are(tmp_path, size):
    """64 x 96 are multiples of the stride: it is brought to the file's size none the less."""
    loaded = load_model(saved(tmp_path / "f.onnx", FREE, {**YOLO, "imgsz": "[320, 320]"}))
    pixels, placement = loaded.preprocess.apply(Image.new("RGB", size[::-1], "white"))
    assert pixels.shape == (3, 224, 320)
    assert placement.resized == ((213, 320) if size[0] == 64 else (214, 320))


def test_the_command_line_says_that_pixels_over_255_are_a_guess(tmp_path, capsys):
    path = saved(tmp_path / "f.onnx", FIXED)
    Image.fromarray(np.uint8(np.arange(72 * 96 * 3).reshape(72, 96, 3) % 251)).save(
        tmp_path / "p.png"
    )
    command = [
        "explain",
        str(tmp_path / "p.png"),
        "-m",
        path,
        "--target",
        "1",
        "-o",
        str(tmp_path / "o.png"),
    ]
    assert main(command) == 0
    assert (
        "does not say how it wants its pictures; pixels / 255 is a guess" in capsys.readouterr().err
    )
    assert main([*command, "--preprocess", '{"size": [96, 160], "mean": [0.5, 0.5, 0.5]}']) == 0
    assert "guess" not in capsys.readouterr().err
    named = saved(tmp_path / "f.onnx", FIXED, {"camport.preprocess": '{"size": [96, 160]}'})
    assert main([*command[:3], named, *command[4:]]) == 0
    assert "guess" not in capsys.readouterr().err
