"""A file that is damaged, hostile or not understood: one clear error, and nothing big allocated."""

import itertools
import os
import time

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

import camport
from camport.errors import ModelError
from camport.models.onnx import load_onnx
from tests.models.files import real, run_runtime

IMAGES = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, 8, 8])
OUT = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["b", "c", "h", "w"])
UNSAID = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
WEIGHT = numpy_helper.from_array(real(4, 3, 3, 3), "w")


def model(
    nodes, initializers=(WEIGHT,), inputs=(IMAGES,), outputs=(OUT,), opsets=(("", 17),), **options
):
    graph = helper.make_graph(list(nodes), "g", list(inputs), list(outputs), list(initializers))
    ids = [helper.make_opsetid(*o) for o in opsets]
    return helper.make_model(graph, opset_imports=ids, ir_version=8, **options)


def conv():
    return helper.make_node("Conv", ["images", "w"], ["out"], name="first")


def saved(tmp_path, proto):
    path = tmp_path / "model.onnx"
    path.write_bytes(proto.SerializeToString() if hasattr(proto, "SerializeToString") else proto)
    return path


def refused(path, match):
    started = time.process_time()
    with pytest.raises(ModelError, match=match) as caught:
        load_onnx(path)
    assert "\n" not in str(caught.value)
    assert time.process_time() - started < 5


def test_what_is_no_model(tmp_path):
    refused(tmp_path / "missing.onnx", "does not exist")
    refused(tmp_path, "is a directory")
    for content in (
        b"",
        b"not an onnx file",
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        bytes(1000),
        os.urandom(1000),
    ):
        refused(saved(tmp_path, content), "no ONNX file|valid ONNX")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9, 0.999])
def test_truncated(tmp_path, share):
    whole = model([conv()]).SerializeToString()
    refused(saved(tmp_path, whole[: int(len(whole) * share)]), "truncated|no ONNX")


def test_any_damage_is_a_camport_error_or_harmless(tmp_path):
    whole = bytearray(model([conv()]).SerializeToString())
    random = np.random.default_rng(0)
    for _ in range(150):
        damaged = bytearray(whole)
        for place in random.integers(0, len(whole), 3):
            damaged[place] = random.integers(256)
        try:
            found = load_onnx(saved(tmp_path, bytes(damaged))).model
            found(torch.zeros(1, 3, 8, 8))
        except camport.errors.CamportError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_cyclic(tmp_path):
    nodes = [
        helper.make_node("Add", ["images", "b"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
    ]
    refused(saved(tmp_path, model([*nodes, helper.make_node("Relu", ["b"], ["out"])])), "cycle")


@pytest.mark.parametrize(
    ("op", "shape"), [("Add", (8,)), ("MatMul", (8, 8)), ("Conv", (4, 3, 3, 3))]
)
def test_wrong_types(tmp_path, op, shape):
    whole_numbers = numpy_helper.from_array(np.zeros(shape, np.int64), "i")
    node = helper.make_node(op, ["images", "i"], ["out"])
    refused(saved(tmp_path, model([node], [whole_numbers])), "types or shapes do not fit.*int64")


def test_shapes_that_do_not_fit(tmp_path):
    wrong = numpy_helper.from_array(real(4, 5, 3, 3), "w")
    refused(saved(tmp_path, model([conv()], [wrong])), r"node 'first' \(Conv\) failed|do not fit")


@pytest.mark.parametrize("field", ["raw_data", "float_data", "nothing"])
def test_an_initialiser_that_claims_a_billion_elements(tmp_path, field):
    claim = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1000, 1000, 1000])
    if field == "raw_data":
        claim.raw_data = bytes(400)
    elif field == "float_data":
        claim.float_data.extend([1.0] * 100)
    refused(
        saved(tmp_path, model([conv()], [claim])),
        r"tensor 'w' claims sizes \[1000, 1000, 1000\].* stores",
    )


@pytest.mark.parametrize("kind", ["constant", "input", "chain"])
def test_a_graph_that_computes_something_huge(tmp_path, kind):
    size = numpy_helper.from_array(np.array([100_000, 100_000, 1000], np.int64), "size")
    big = helper.make_node("ConstantOfShape", ["size"], ["big"], name="bomb")
    if kind == "constant":
        nodes = [big, helper.make_node("Add", ["images", "big"], ["out"])]
        refused(saved(tmp_path, model(nodes, [size])), r"'bomb' .*too large")
    elif kind == "input":
        nodes = [
            helper.make_node("Unsqueeze", ["images", "axis"], ["one"]),
            helper.make_node("Tile", ["one", "n"], ["out"]),
        ]
        axis = numpy_helper.from_array(np.array([0], np.int64), "axis")
        many = numpy_helper.from_array(np.array([10**9, 1, 1, 1, 1], np.int64), "n")
        refused(saved(tmp_path, model(nodes, [axis, many], outputs=[UNSAID])), "too large")
    else:
        names = ["images", *(f"x{i}" for i in range(40)), "out"]
        nodes = [
            helper.make_node("Concat", [a, a], [b], axis=2) for a, b in itertools.pairwise(names)
        ]
        refused(saved(tmp_path, model(nodes, [])), "too large|do not fit|failed")


def external(location, count=None, **more):
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[4, 3, 3, 3], data_location=TensorProto.EXTERNAL
    )
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


@pytest.mark.parametrize(
    "location",
    ["../secret.bin", "/etc/passwd", "a/../../secret.bin", "C:\\secret.bin", "..\\secret.bin", ""],
)
def test_external_data_outside_of_the_folder(tmp_path, location):
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    (tmp_path / "inner" / "a").mkdir(parents=True)
    refused(
        saved(tmp_path / "inner", model([conv()], [external(location)])),
        "outside of the model's folder",
    )


def test_external_data_by_a_link_out_of_the_folder(tmp_path):
    (tmp_path / "secret.bin").write_bytes(bytes(10_000))
    (tmp_path / "inner").mkdir()
    (tmp_path / "inner" / "w.bin").symlink_to(tmp_path / "secret.bin")
    refused(saved(tmp_path / "inner", model([conv()], [external("w.bin")])), "by a link")


@pytest.mark.parametrize(
    ("stored", "more", "match"),
    [
        (None, {}, "not beside the model"),
        (100, {}, "truncated"),
        (432, {"offset": 4}, "truncated"),
        (432, {"length": 99}, "length of 99"),
        (432, {"offset": "x"}, "no number"),
        (432, {"offset": -4}, "negative"),
    ],
)
def test_external_data_that_is_not_there(tmp_path, stored, more, match):
    if stored is not None:
        (tmp_path / "w.bin").write_bytes(bytes(stored))
    refused(saved(tmp_path, model([conv()], [external("w.bin", **more)])), match)


def test_external_data_beside_the_file(tmp_path):
    weights = real(4, 3, 3, 3)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "w.bin").write_bytes(bytes(8) + weights.tobytes())
    path = saved(tmp_path, model([conv()], [external("data/w.bin", offset=8, length=432)]))
    x = real(2, 3, 8, 8, seed=1)
    found = load_onnx(path).model(torch.from_numpy(x)).detach()
    np.testing.assert_allclose(found, run_runtime(path, [x])[0], rtol=1e-5, atol=1e-5)


def test_an_unknown_operator_with_graphs_of_its_own(tmp_path):
    branch = helper.make_graph(
        [helper.make_node("Identity", ["images"], ["same"])],
        "branch",
        [],
        [helper.make_tensor_value_info("same", TensorProto.FLOAT, None)],
    )
    node = helper.make_node(
        "If", ["yes"], ["out"], name="either", then_branch=branch, else_branch=branch
    )
    yes = numpy_helper.from_array(np.array(True), "yes")
    refused(
        saved(tmp_path, model([node], [yes])),
        r"If \(node 'either'\), which hold graphs.*Export the model again",
    )


def test_an_unknown_domain(tmp_path):
    node = helper.make_node("Special", ["images"], ["out"], name="odd", domain="my.company")
    refused(
        saved(tmp_path, model([node], [], opsets=(("", 17), ("my.company", 1)))),
        r"my\.company\.Special \(node 'odd'\)",
    )


def test_an_attribute_of_the_future(tmp_path):
    node = helper.make_node("Relu", ["images"], ["out"], name="act", slope=0.1)
    refused(saved(tmp_path, model([node], [])), "slope")


def test_an_old_opset(tmp_path):
    refused(
        saved(
            tmp_path, model([helper.make_node("Relu", ["images"], ["out"])], [], opsets=(("", 6),))
        ),
        "opset 6",
    )


def test_functions_without_end(tmp_path):
    opsets = [helper.make_opsetid("own", 1)]
    bodies = []
    for i in range(2):
        inner = helper.make_node(f"f{1 - i}", ["x"], ["y"], domain="own")
        bodies.append(helper.make_function("own", f"f{i}", ["x"], ["y"], [inner], opsets))
    node = helper.make_node("f0", ["images"], ["out"], domain="own")
    path = saved(tmp_path, model([node], [], opsets=(("", 17), ("own", 1)), functions=bodies))
    refused(path, "without end|not a valid")


def test_functions_that_double(tmp_path):
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("own", 1)]
    bodies = [
        helper.make_function(
            "own", "f0", ["x"], ["y"], [helper.make_node("Relu", ["x"], ["y"])], opsets
        )
    ]
    for i in range(1, 28):
        inner = [
            helper.make_node(f"f{i - 1}", [a], [b], domain="own")
            for a, b in (("x", "m"), ("m", "y"))
        ]
        bodies.append(helper.make_function("own", f"f{i}", ["x"], ["y"], inner, opsets))
    node = helper.make_node("f27", ["images"], ["out"], domain="own")
    path = saved(tmp_path, model([node], [], opsets=(("", 17), ("own", 1)), functions=bodies))
    refused(path, "nodes; that is no network")


def test_a_function_of_the_file_is_written_out(tmp_path):
    opsets = [helper.make_opsetid("", 17)]
    body = [helper.make_node("Relu", ["x"], ["r"]), helper.make_node("Neg", ["r"], ["y"])]
    function = helper.make_function("own", "f", ["x"], ["y"], body, opsets)
    node = helper.make_node("f", ["images"], ["out"], domain="own")
    path = saved(tmp_path, model([node], [], opsets=(("", 17), ("own", 1)), functions=[function]))
    x = torch.randn(2, 3, 8, 8)
    assert torch.equal(load_onnx(path).model(x), -x.relu())


def test_an_exported_explainer_is_no_bare_model(tmp_path):
    proto = model([conv()])
    helper.set_model_props(proto, {"camport.method": "{}"})
    refused(saved(tmp_path, proto), "camport run")


def test_two_inputs_are_asked_for_by_name(tmp_path):
    other = helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["b", 3, 8, 8])
    path = saved(
        tmp_path, model([helper.make_node("Mul", ["images", "mask"], ["out"])], [], [IMAGES, other])
    )
    with pytest.raises(ModelError, match=r"takes 2 inputs \(images, mask\), 1 were given"):
        load_onnx(path).model(torch.zeros(1, 3, 8, 8))


def test_the_path_of_a_model_above_two_gigabytes(tmp_path):
    path = tmp_path / "large.onnx"
    with path.open("wb") as file:
        file.truncate(2**31 + 10)
    refused(path, "external data")


def test_onnx_itself_is_only_imported_to_read_a_file():
    import subprocess
    import sys

    code = (
        "import sys, camport.models, camport.models.onnx; sys.exit(any(m == 'onnx' for m in"
        " sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_labels_and_preprocess_come_from_metadata(tmp_path):
    proto = model([conv()])
    helper.set_model_props(
        proto,
        {
            "camport.labels": '["a", "b"]',
            "camport.preprocess": '{"size": [8, 8], "std": [2.0, 2.0, 2.0]}',
        },
    )
    loaded = load_onnx(saved(tmp_path, proto))
    assert loaded.labels == ("a", "b")
    assert loaded.preprocess.std == (2.0, 2.0, 2.0)
    assert onnx.load(tmp_path / "model.onnx").metadata_props
