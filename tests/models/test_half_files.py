"""Files in half precision: nodes in any order that ONNX Runtime takes,
computed and exported in float32."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.transformers.float16 import convert_float_to_float16

import camport
from camport.models import load_model
from camport.models.onnx import load_onnx
from camport.runtime import load
from tests.models.files import one_node, real, run_runtime
from tests.nets import GapNet, images, seeded

SIZE = (14, 18)


def exported(path: Path, model: torch.nn.Module) -> onnx.ModelProto:
    """A network as a float32 file."""
    example = images(2, SIZE, torch.float32)
    axes = {"images": {0: "b"}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch's, of its older exporter
        torch.onnx.export(
            model, (example,), path, dynamo=False, input_names=["images"], dynamic_axes=axes
        )
    return onnx.load(path)


def half(path: Path, *, keep: bool) -> torch.nn.Module:
    """Writes a network in float16 as ONNX Runtime's converter does; the same weights in PyTorch,
    rounded alike."""
    model = seeded(GapNet(), dtype=torch.float32)
    onnx.save(convert_float_to_float16(exported(path, model), keep_io_types=keep), path)
    return model.half().float()


@pytest.mark.parametrize("keep", [True, False])
def test_outputs_are_the_runtimes_and_maps_the_networks(tmp_path, keep):
    """With the files' types kept, the converter puts the input's Cast last:
    an order that is none."""
    path = tmp_path / "half.onnx"
    model, x = half(path, keep=keep), images(3, SIZE, torch.float32)
    (wanted,) = onnxruntime.InferenceSession(path).run(
        None, {"images": x.numpy().astype("f4" if keep else "f2")}
    )
    bound = camport.bind(path, "gradcam")
    got = bound(x, 3)
    reference = camport.explain(model, x, "gradcam", 3, layer="features.3")
    # ten bits of float16
    np.testing.assert_allclose(got.outputs.numpy(), wanted, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(got.outputs.numpy(), reference.outputs.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(got.raw.numpy(), reference.raw.numpy(), rtol=1e-4, atol=1e-6)
    assert {p.dtype for p in bound.model.parameters()} == {torch.float32}


def test_the_command_line_exports_it_and_says_that_it_is_float32(tmp_path, capsys):
    from camport.cli import main

    path, out = tmp_path / "half.onnx", tmp_path / "out.onnx"
    model = half(path, keep=True)
    size = f"{SIZE[0]}x{SIZE[1]}"
    assert main(["export", "-m", str(path), "--size", size, "-o", str(out)]) == 0, (
        capsys.readouterr().err
    )
    assert (
        "half.onnx is in float16; it is computed in float32, and files" in capsys.readouterr().err
    )
    x = images(2, SIZE, torch.float32)
    wanted = camport.explain(model, x, "gradcam", 3, layer="features.3")
    np.testing.assert_allclose(
        load(out)(x.numpy(), target=3).heatmap, wanted.heatmap.numpy(), atol=1e-4
    )


def test_nodes_in_any_order_are_sorted(tmp_path):
    path = tmp_path / "shuffled.onnx"
    proto = exported(path, seeded(GapNet(), dtype=torch.float32))
    x = images(2, SIZE, torch.float32)
    wanted = load_onnx(path).model(x)
    shuffled = [
        proto.graph.node[i] for i in np.random.default_rng(0).permutation(len(proto.graph.node))
    ]
    del proto.graph.node[:]
    proto.graph.node.extend(shuffled)
    onnx.save(proto, path)
    assert torch.equal(load_onnx(path).model(x), wanted)


def test_what_a_graph_within_a_node_reads_comes_before_it():
    """The branch of an If reads `late`, which is made behind it."""
    from camport.models.onnx.order import sort_nodes

    branch = helper.make_graph(
        [helper.make_node("Relu", ["late"], ["y"])],
        "g",
        [],
        [helper.make_tensor_value_info("y", 1, None)],
    )
    nodes = [
        helper.make_node("If", ["c"], ["out"], then_branch=branch, else_branch=branch),
        helper.make_node("Neg", ["x"], ["late"]),
    ]
    graph = helper.make_graph(nodes, "g", [], [])
    sort_nodes(graph)
    assert [node.op_type for node in graph.node] == ["Neg", "If"]


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.BFLOAT16])
def test_every_way_to_name_half_precision_is_widened(tmp_path, kind):
    """A Cast, a constant of a node, and a type that a node makes."""
    one = helper.make_tensor("one", kind, [1], [1.0])
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["full"]),
        helper.make_node("Cast", ["full"], ["narrow"], to=kind),
        helper.make_node("Shape", ["narrow"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["ones"], value=one),
        helper.make_node("Add", ["narrow", "ones"], ["sum"]),
        helper.make_node("Cast", ["sum"], ["out"], to=TensorProto.FLOAT),
    ]
    weights = real(4, 3, 3, 3)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, 8, 8])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    path = tmp_path / "mixed.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9), path
    )
    loaded = load_model(str(path))
    x = torch.from_numpy(real(2, 3, 8, 8, seed=1))
    wanted = torch.nn.functional.conv2d(x, torch.from_numpy(weights)) + 1
    torch.testing.assert_close(loaded.model(x), wanted, rtol=1e-6, atol=1e-6)
    assert loaded.notes == (
        (
            f"mixed.onnx is in {'float16' if kind == TensorProto.FLOAT16 else 'bfloat16'}; it is"
            " computed in float32, and files written of it are float32"
        ),
    )


def test_the_operator_itself_rounds(tmp_path):
    """A file is widened as a whole; Cast to float16 alone is what ONNX Runtime makes of it."""
    from camport.models.onnx.builder import Builder
    from camport.models.onnx.reading import read_file

    path = tmp_path / "cast.onnx"
    x = real(2, 3, 4, 5)
    onnx.save(one_node("Cast", [x], to=TensorProto.FLOAT16), path)
    (wanted,) = run_runtime(path, [x])
    found = Builder(read_file(path)).build()(torch.from_numpy(x)).numpy()
    assert found.dtype == wanted.dtype == np.float16
    np.testing.assert_array_equal(found, wanted)
