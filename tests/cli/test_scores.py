"""What the command line explains of a file that ends in a softmax, of several outputs,
and of an open table."""

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper

from camport.models import load_model
from camport.runtime import load

pytestmark = pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")


def numbers(*shape, seed):
    return (
        np.random.default_rng(seed).normal(size=shape).astype(np.float32) / max(1, shape[-1]) ** 0.5
    )


SIZE = ("--preprocess", '{"size": [32, 32]}')
CONV, FC = numbers(6, 3, 3, 3, seed=0), numbers(6, 4, seed=1)


def file(path, nodes, outputs, axes):
    """A convolution `maps`, its mean `pooled`, a product `logits`, and what stands behind."""
    first = [
        helper.make_node(
            "Conv", ["images", "conv"], ["maps"], name="conv", strides=[2, 2], pads=[1, 1, 1, 1]
        ),
        helper.make_node("Relu", ["maps"], ["active"], name="act"),
        helper.make_node("GlobalAveragePool", ["active"], ["mean"], name="mean"),
        helper.make_node("Flatten", ["mean"], ["pooled"], name="flat"),
        helper.make_node("MatMul", ["pooled", "fc"], ["logits"], name="fc"),
    ]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", *axes[name]])
        for name in outputs
    ]
    graph = helper.make_graph(
        [*first, *nodes],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, 32, 32])],
        values,
        [
            numpy_helper.from_array(CONV, "conv"),
            numpy_helper.from_array(FC, "fc"),
            numpy_helper.from_array(np.array([0, 4], np.int64), "shape"),
        ],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


def logits(x):
    """z, and its first class's gradient by the maps."""
    a = F.conv2d(x, torch.from_numpy(CONV), stride=2, padding=1).relu().detach().requires_grad_()
    z = a.mean((2, 3)) @ torch.from_numpy(FC)
    return z.detach(), a


ENDS = {
    "softmax": [helper.make_node("Softmax", ["logits"], ["p"], axis=1)],
    "softmax, moved about": [
        helper.make_node("Softmax", ["logits"], ["q"], axis=-1),
        helper.make_node("Reshape", ["q", "shape"], ["r"]),
        helper.make_node("Identity", ["r"], ["s"]),
        helper.make_node("Cast", ["s"], ["p"], to=TensorProto.FLOAT),
    ],
    "log softmax": [helper.make_node("LogSoftmax", ["logits"], ["p"], axis=1)],
    "sigmoid": [helper.make_node("Sigmoid", ["logits"], ["p"])],
}


@pytest.mark.parametrize("nodes", ENDS.values(), ids=ENDS)
def test_a_file_is_explained_by_the_logit_before_its_last_softmax(camport, photo, tmp_path, nodes):
    path = file(tmp_path / "net.onnx", nodes, ["p"], {"p": [4]})
    done = camport(
        "explain",
        photo,
        "-m",
        path,
        "--target",
        2,
        "--layer",
        "act",
        "--method",
        "hirescam",
        *SIZE,
        "-o",
        "o.npz",
    )
    assert (done.status, done.err) == (0, "")
    found = np.load(tmp_path / "o.npz")
    x = torch.from_numpy(load_model(str(path)).preprocess.apply(_open(photo))[0])[None]
    z, a = logits(x)
    (g,) = torch.autograd.grad((a.mean((2, 3)) @ torch.from_numpy(FC))[:, 2].sum(), a)
    assert np.allclose(found["score"], z[:, 2], atol=1e-5)
    assert np.allclose(found["gradients"], g, atol=1e-7)
    assert f"score {float(z[0, 2]):.2f}" in done.out


def _open(path):
    from camport.runtime import open_image

    return open_image(path)


TWO = [helper.make_node("Softmax", ["logits"], ["p"], axis=1)]


@pytest.mark.filterwarnings("default::camport.errors.DoubtWarning")
@pytest.mark.parametrize("scores", [None, "p", "pooled", "1"])
def test_an_output_of_a_file_is_chosen_by_its_name(camport, photo, tmp_path, scores):
    path = file(tmp_path / "net.onnx", TWO, ["pooled", "p"], {"pooled": [6], "p": [4]})
    options = () if scores is None else ("--scores", scores)
    done = camport(
        "explain",
        photo,
        "-m",
        path,
        "--target",
        1,
        "--layer",
        "act",
        *options,
        *SIZE,
        "-o",
        "o.npz",
    )
    assert done.status == 0, done.err
    x = torch.from_numpy(load_model(str(path)).preprocess.apply(_open(photo))[0])[None]
    z, a = logits(x)
    wanted = a.mean((2, 3))[:, 1] if scores == "pooled" else z[:, 1]
    assert np.allclose(np.load(tmp_path / "o.npz")["score"], wanted.detach(), atol=1e-5)
    said = "'p' [1, 4] is explained, and 'pooled' [1, 6] is not"
    assert (said in done.err) == (scores is None)


def test_an_output_that_is_not_there_is_one_line(camport, photo, tmp_path):
    path = file(tmp_path / "net.onnx", TWO, ["pooled", "p"], {"pooled": [6], "p": [4]})
    done = camport("explain", photo, "-m", path, "--scores", "poold", *SIZE, "-o", "o.png")
    assert (done.status, done.err) == (
        2,
        "camport: error: unknown output 'poold'; did you mean 'pooled'?\n",
    )
    done = camport("explain", photo, "-m", "demo:detector", "--scores", "p", "-o", "o.png")
    assert (
        done.err
        == "camport: error: --scores p is for --adapter classification, and the task is detection\n"
    )
    assert not (tmp_path / "o.png").exists()


def test_an_exported_file_explains_the_chosen_logits(camport, tmp_path):
    path = file(tmp_path / "net.onnx", TWO, ["pooled", "p"], {"pooled": [6], "p": [4]})
    done = camport("export", "-m", path, "--layer", "act", "--scores", "p", "-o", "e.onnx")
    assert done.status == 0, done.err
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    found = load(tmp_path / "e.onnx")(x.numpy(), target=[0, 3, -1])
    z, a = logits(x)
    assert np.allclose(found["score"], [z[0, 0], z[1, 3], z[2].max()], atol=1e-5)
    assert np.allclose(found["outputs"], a.mean((2, 3)).detach(), atol=1e-6)
    assert np.allclose(found["outputs_1"], z.softmax(1), atol=1e-6)
    (g,) = torch.autograd.grad((a.mean((2, 3)) @ torch.from_numpy(FC))[0, 0], a)
    assert np.allclose(found["gradients"][0], g[0], atol=1e-7)


BRANCH = [
    helper.make_node(
        "Conv", ["images", "conv"], ["maps2"], name="conv2", strides=[4, 4], pads=[1, 1, 1, 1]
    ),
    helper.make_node("Tanh", ["maps2"], ["active2"], name="act2"),
    helper.make_node("GlobalAveragePool", ["active2"], ["mean2"], name="mean2"),
    helper.make_node("Flatten", ["mean2"], ["pooled2"], name="flat2"),
    helper.make_node("MatMul", ["pooled2", "fc"], ["other"], name="fc2"),
    helper.make_node("Softmax", ["logits"], ["p"], axis=1),
]


@pytest.mark.filterwarnings("ignore::camport.errors.DoubtWarning")
@pytest.mark.parametrize(("scores", "layer"), [("p", "act"), ("other", "act2")])
def test_the_layer_leads_to_the_chosen_output(camport, photo, tmp_path, scores, layer):
    path = file(tmp_path / "net.onnx", BRANCH, ["p", "other"], {"p": [4], "other": [4]})
    done = camport("layers", "-m", path, "--scores", scores)
    assert done.status == 0, done.err
    assert [line.split()[0] for line in done.out.splitlines() if line.split()[-1] == "chosen"] == [
        layer
    ]
    done = camport("explain", photo, "-m", path, "--scores", scores, *SIZE, "-o", "o.npz")
    assert f", layer {layer}\n" in done.out
