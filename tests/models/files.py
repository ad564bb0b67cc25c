"""Small .onnx files made by hand, and what ONNX Runtime says of them."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from camport.models.onnx import load_onnx


class Const:
    """An input that the file stores."""

    def __init__(self, values, dtype=None):
        self.array = np.asarray(values, dtype)
        if dtype is None and self.array.dtype == np.float64:
            self.array = self.array.astype(np.float32)


def ints(*values):
    return Const(values, np.int64)


def real(*shape, seed=0, low=None):
    array = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return array if low is None else np.abs(array) + np.float32(low)


def value_info(name, array, free=True):
    shape = list(array.shape)
    if free and shape:
        shape[0] = "b"
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(array.dtype), shape)


def one_node(op, inputs, opset=17, outputs=1, free=True, **attributes):
    """A file of one node; arrays are graph inputs, `Const` are initialisers,
    None is an input left out."""
    names, given, stored = [], [], []
    for i, value in enumerate(inputs):
        name = f"in{i}" if value is not None else ""
        names.append(name)
        if isinstance(value, Const):
            stored.append(numpy_helper.from_array(value.array, name))
        elif value is not None:
            given.append(value_info(name, value, free))
    results = [f"out{i}" for i in range(outputs)]
    node = helper.make_node(op, names, results, name="the_node", **attributes)
    untyped = [onnx.ValueInfoProto(name=name) for name in results]
    graph = helper.make_graph([node], "g", given, untyped, stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    inferred = onnx.shape_inference.infer_shapes(model)
    if not inferred.graph.output[0].type.tensor_type.HasField("shape"):
        for value in inferred.graph.output:
            value.type.CopyFrom(
                helper.make_tensor_type_proto(TensorProto.FLOAT, list(inputs[0].shape))
            )
    return inferred


def run_runtime(path: Path, arrays):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    feed = {port.name: array for port, array in zip(session.get_inputs(), arrays, strict=True)}
    return session.run(None, feed)


def run_imported(path: Path, arrays):
    model = load_onnx(path).model
    with torch.no_grad():
        found = model(*(torch.from_numpy(a) for a in arrays))
    return [v.numpy() for v in (found if isinstance(found, tuple) else (found,))]


def check_node(tmp_path, op, inputs, opset=17, outputs=1, rtol=1e-5, free=False, **attributes):
    """The imported node gives what ONNX Runtime gives."""
    path = tmp_path / "node.onnx"
    onnx.save(one_node(op, inputs, opset, outputs, free, **attributes), path)
    arrays = [v for v in inputs if isinstance(v, np.ndarray)]
    for found, wanted in zip(run_imported(path, arrays), run_runtime(path, arrays), strict=True):
        assert found.shape == wanted.shape
        assert found.dtype == wanted.dtype
        scale = np.abs(wanted).max(initial=1e-6) if wanted.dtype.kind == "f" else 0
        np.testing.assert_allclose(found, wanted, rtol=rtol, atol=rtol * scale)
