"""Files with operators that are not imported: ONNX Runtime runs those nodes,
and methods without gradients work."""

import copy
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import camport
from camport.errors import ExportError, MethodError, ModelError
from camport.export import to_onnx
from camport.models import load_model
from camport.plugins import GroupCAM
from tests.nets import Net, seeded
from tests.nets import images as double_images


def images(n: int, size: tuple[int, int]) -> torch.Tensor:
    return double_images(n, size).float()


def net() -> Net:
    return seeded(Net(), dtype=torch.float32)


def conv_before(path: Path) -> str:
    """The node that makes what `features` puts out."""
    return [node.name for node in onnx.load(path).graph.node if node.op_type == "Conv"][1]


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small network as every exporter writes it."""
    path = tmp_path_factory.mktemp("files") / "known.onnx"
    example = images(2, (16, 16))
    torch.onnx.export(
        net(),
        (example,),
        path,
        dynamo=True,
        verbose=False,
        dynamic_shapes=({0: torch.export.Dim("b")},),
    )
    return path


@pytest.fixture(scope="module")
def foreign(known: Path) -> Path:
    """The same with a contributed operator behind its last Relu: BiasGelu of a bias of zeros."""
    model = onnx.load(known)
    graph = model.graph
    relu = [node for node in graph.node if node.op_type == "Relu"][-1]
    output, channels = relu.output[0], 8
    relu.output[0] = "before"
    at = list(graph.node).index(relu) + 1
    graph.initializer.append(numpy_helper.from_array(np.zeros(channels, np.float32), "bias"))
    moved = helper.make_node("Transpose", ["before"], ["last"], perm=[0, 2, 3, 1])
    gelu = helper.make_node(
        "BiasGelu", ["last", "bias"], ["gelu"], name="strange", domain="com.microsoft"
    )
    back = helper.make_node("Transpose", ["gelu"], [output], perm=[0, 3, 1, 2])
    for node in (back, gelu, moved):
        graph.node.insert(at, node)
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    path = known.with_name("foreign.onnx")
    onnx.save(model, path)
    return path


def test_it_says_what_onnxruntime_says(foreign):
    x = images(3, (16, 16))
    session = onnxruntime.InferenceSession(foreign)
    (wanted,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    bound = camport.bind(foreign, "eigencam")
    np.testing.assert_allclose(bound(x).outputs.numpy(), wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        copy.deepcopy(bound.model)(x).detach().numpy(), wanted, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize(
    "method",
    [
        "eigencam",
        "reciprocam",
        "ablationcam",
        "scorecam",
        GroupCAM(gradient_weights=False),
        "occlusion",
    ],
)
def test_methods_without_gradients_work(foreign, method):
    """BiasGelu is x Φ(x): the same network with GELU in PyTorch gives the same map."""
    x = images(2, (16, 16))
    model = net()
    model.head[0] = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.GELU())
    wanted = camport.explain(model, x, method, target=4, layer="features")
    got = camport.explain(foreign, x, method, target=4, layer=conv_before(foreign))
    np.testing.assert_allclose(got.heatmap.numpy(), wanted.heatmap.numpy(), atol=1e-4)


def test_a_layer_is_chosen_without_the_gradient(foreign):
    """The choice looks at the paths to the score,
    and behind this node there is no gradient to look at."""
    x = images(2, (16, 16))
    model = net()
    model.head[0] = torch.nn.Sequential(torch.nn.ReLU(), torch.nn.GELU())
    wanted, got = camport.explain(model, x, "eigencam"), camport.explain(foreign, x, "eigencam")
    np.testing.assert_allclose(got.activations[0].numpy(), wanted.activations[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(got.heatmap.numpy(), wanted.heatmap.numpy(), atol=1e-4)
    with pytest.raises(MethodError, match="is not imported"):
        camport.explain(foreign, x, "gradcam", layer=conv_before(foreign))


def test_gradients_name_the_operator_and_what_works(foreign):
    with pytest.raises(
        MethodError, match=r"'strange' \(BiasGelu\) is not imported.*eigencam, reciprocam"
    ) as caught:
        camport.explain(foreign, images(1, (16, 16)), "gradcam", layer=conv_before(foreign))
    assert "foreign.onnx" in str(caught.value)


def test_a_layer_behind_it_has_gradients(foreign):
    back = [
        node.output[0] for node in onnx.load(foreign).graph.node if node.op_type == "Transpose"
    ][-1]
    got = camport.explain(foreign, images(1, (16, 16)), "gradcam", target=2, layer=back)
    assert got.raw.shape[0] == 1


def test_an_export_is_refused(foreign, tmp_path):
    with pytest.raises(
        ExportError, match=r"\(BiasGelu\) cannot be exported: camport does not import its operator"
    ):
        to_onnx(camport.bind(foreign, "eigencam"), tmp_path / "out.onnx", images(1, (16, 16)))
    assert not (tmp_path / "out.onnx").exists()


def test_what_no_one_runs_is_refused_at_once(tmp_path):
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["b", 3, 8, 8])
    result = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["b", 3, 8, 8])
    node = helper.make_node("Nobody", ["x"], ["y"], name="n", domain="of.mine")
    graph = helper.make_graph([node], "g", [given], [result])
    sets = [helper.make_opsetid("", 17), helper.make_opsetid("of.mine", 1)]
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), tmp_path / "a.onnx")
    with pytest.raises(
        ModelError,
        match=r"does not import: of\.mine\.Nobody \(node 'n'\), and ONNX Runtime does not",
    ):
        camport.bind(tmp_path / "a.onnx", "eigencam")


def test_a_model_that_was_run_before(foreign):
    """Its engine's sessions are there then, which nothing but the engine can make:
    they are shared."""
    model, given = load_model(str(foreign)).model, images(2, (16, 16))
    said = model(given)
    expected = camport.bind(load_model(str(foreign)).model, "eigencam")(given)
    found = camport.bind(model, "eigencam")(given)
    torch.testing.assert_close(found.outputs, said)
    torch.testing.assert_close(found.raw, expected.raw)
