"""Files that take more than images: the images are named, the rest is given once."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

import camport
from camport.cli import main
from camport.errors import CamportError, InputError, ModelError, UnknownNameError
from camport.export import to_onnx
from camport.models import load_model
from camport.models.onnx import load_onnx
from camport.runtime import load
from tests.models.files import real

WEIGHTS, HEAD = real(4, 3, 3, 3), real(4, 2, seed=1)


def two(path, batch="b", scale=("b", 2), kind=TensorProto.FLOAT):
    """Scores of a convolution, each times its row of `im_scale`,
    as detectors of PaddleDetection have it."""
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["maps"], name="conv"),
        helper.make_node("Relu", ["maps"], ["positive"], name="relu"),
        helper.make_node("ReduceMean", ["positive"], ["pooled"], axes=[2, 3], keepdims=0),
        helper.make_node("MatMul", ["pooled", "head"], ["scores"]),
        helper.make_node("Cast", ["im_scale"], ["factors"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["scores", "factors"], ["out"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [
            helper.make_tensor_value_info("im_scale", kind, list(scale)),
            helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, 12, 16]),
        ],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, [batch, 2])],
        [numpy_helper.from_array(WEIGHTS, "w"), numpy_helper.from_array(HEAD, "head")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def wanted(x, factors):
    maps = torch.nn.functional.conv2d(x, torch.from_numpy(WEIGHTS)).relu()
    return maps.mean((2, 3)) @ torch.from_numpy(HEAD) * torch.tensor(factors)


@pytest.mark.parametrize(
    "given", [[2.0, -3.0], [[2.0, -3.0]], np.array([2, -3]), torch.tensor([[2.0, -3.0]])]
)
@pytest.mark.parametrize(
    "form", [{}, {"kind": TensorProto.INT64}, {"scale": (1, 2), "batch": 1}, {"scale": (2,)}]
)
def test_one_value_holds_for_every_image(tmp_path, given, form):
    if form.get("scale") == (2,):
        given = [2.0, -3.0]
    model = load_onnx(two(tmp_path / "two.onnx", **form), inputs={"im_scale": given}).model
    x = torch.from_numpy(real(3, 3, 12, 16, seed=2))
    torch.testing.assert_close(model(x), wanted(x, [2.0, -3.0]), rtol=1e-5, atol=1e-6)


def test_a_row_for_each_image(tmp_path):
    rows = [[1.0, 2.0], [3.0, 4.0]]
    model = load_onnx(two(tmp_path / "two.onnx"), image="data", inputs={"im_scale": rows}).model
    x = torch.from_numpy(real(2, 3, 12, 16, seed=2))
    torch.testing.assert_close(model(x), wanted(x, rows), rtol=1e-5, atol=1e-6)


def test_maps_and_exports(tmp_path):
    """The score's sign is that of the factor, and the exported file takes images alone,
    as many as there are."""
    path = two(tmp_path / "two.onnx")
    x = torch.from_numpy(real(3, 3, 12, 16, seed=2))
    bound = camport.bind(path, "gradcam", "relu", inputs={"im_scale": [2, -3]})
    found = bound(x, 1)
    session = onnxruntime.InferenceSession(path)
    (scores,) = session.run(
        None, {"data": x.numpy(), "im_scale": np.tile(np.float32([2, -3]), (3, 1))}
    )
    np.testing.assert_allclose(found.outputs.numpy(), scores, rtol=1e-5)
    maps = torch.nn.functional.conv2d(x, torch.from_numpy(WEIGHTS)).relu()
    cells = maps[0, 0].numel()
    by_hand = (maps * (-3.0 * torch.from_numpy(HEAD)[:, 1] / cells)[:, None, None]).sum(1).relu()
    torch.testing.assert_close(found.raw, by_hand, rtol=1e-4, atol=1e-6)
    to_onnx(bound, tmp_path / "out.onnx", x[:2])
    result = load(tmp_path / "out.onnx")(x.numpy(), target=1)
    np.testing.assert_allclose(result.outputs, scores, rtol=1e-5)
    np.testing.assert_allclose(result.heatmap, found.heatmap.numpy(), atol=1e-5)


def test_the_command_line(tmp_path, capsys):
    path = str(two(tmp_path / "two.onnx"))
    Image.fromarray(np.uint8(np.arange(24 * 32 * 3).reshape(24, 32, 3) % 251)).save(
        tmp_path / "p.png"
    )
    command = ["explain", str(tmp_path / "p.png"), "-m", path, "--layer", "relu", "--target", "1"]
    command += ["-o", str(tmp_path / "o.npz")]
    assert main(command) == 2
    assert (
        "--input im_scale=1,1, in Python load_model(..., inputs={'im_scale': [1, 1]})"
        in capsys.readouterr().err
    )
    assert main([*command, "--input", "im_scale=2,-3"]) == 0
    score = np.load(tmp_path / "o.npz")["score"]
    np.save(tmp_path / "scale.npy", np.float32([[2, -6]]))
    assert main([*command, "--input", f"im_scale={tmp_path / 'scale.npy'}"]) == 0
    np.testing.assert_allclose(np.load(tmp_path / "o.npz")["score"], 2 * score, rtol=1e-5)
    assert main(["layers", "-m", path, "--input", "im_scale=2,-3"]) == 0
    assert "relu" in capsys.readouterr().out
    assert main([*command, "--input", "im_scale=two"]) == 2
    assert "could not convert string to float: 'two'; write NAME=NUMBER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "error", "match"),
    [
        (
            {"inputs": {"im_size": 1}},
            UnknownNameError,
            "unknown input of two.onnx 'im_size'; did you mean 'im_scale'",
        ),
        (
            {"inputs": {"im_scale": [1, 2, 3]}},
            InputError,
            r"'im_scale' is \[\?, 2\], and the value given has shape \[3\]",
        ),
        (
            {"inputs": {"im_scale": 1}},
            InputError,
            r"'im_scale' is \[\?, 2\], and the value given has shape \[\]",
        ),
        ({"inputs": {"im_scale": "one"}}, InputError, "'one' is no array of numbers"),
        (
            {"image": "im_scale", "inputs": {"im_scale": 1}},
            InputError,
            "'im_scale' is the images' input",
        ),
        (
            {"image": "data"},
            InputError,
            r"takes 2 inputs \(im_scale, data\), 1 were given.*--input im_scale=1,1",
        ),
        ({"inputs": {"im_scale": [1, 1], "data": [1]}}, InputError, "leave the images' out"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path, options, error, match):
    with pytest.raises(error, match=match):
        load_model(str(two(tmp_path / "two.onnx")), **options)


def test_without_values_the_message_offers_them(tmp_path):
    with pytest.raises(
        ModelError, match=r"im_scale is \[\?, 2\]: give a value once, e.g. --input im_scale=1,1"
    ):
        load_onnx(two(tmp_path / "two.onnx")).model(torch.zeros(1, 3, 12, 16))
    with pytest.raises(CamportError, match="'demo:digits' is none"):
        load_model("demo:digits", inputs={"im_scale": 1})


def test_a_model_of_two_inputs_is_evaluated(tmp_path, capsys):
    path, folder = str(two(tmp_path / "two.onnx")), tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(np.uint8(np.arange(24 * 32 * 3).reshape(24, 32, 3) % 251)).save(
        folder / "p.png"
    )
    command = [
        "evaluate",
        "-m",
        path,
        "--data",
        str(folder),
        "--layer",
        "relu",
        "--method",
        "gradcam",
    ]
    command += ["--metric", "sparsity", "-o"]
    assert main([*command, str(tmp_path / "none")]) == 2
    assert "--input im_scale=1,1" in capsys.readouterr().err
    command += [str(tmp_path / "found"), "--input"]
    assert main([*command, "im_scale=2,-3"]) == 0
    assert (tmp_path / "found" / "table.csv").is_file()
    assert main([*command, "im_scale=2,-4"]) == 2  # another model than the record's
    assert "inputs" in capsys.readouterr().err
