"""Tiny graphs with the inputs and outputs of exported explainers, built with onnx.helper."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Write = Callable[..., Path]
PORTS = {
    "images": (TensorProto.FLOAT, ["b", 3, "H", "W"]),
    "target": (TensorProto.INT64, ["b"]),
    "boxes": (TensorProto.FLOAT, ["b", 4]),
    "class_ids": (TensorProto.INT64, ["b"]),
    "tokens": (TensorProto.INT64, ["b", "t"]),
    "span": (TensorProto.INT64, ["b", 2]),
    "outputs": (TensorProto.FLOAT, ["b", 4]),
    "score": (TensorProto.FLOAT, ["b"]),
    "heatmap": (TensorProto.FLOAT, ["b", "H", "W"]),
    "feature_maps": (TensorProto.FLOAT, ["b", 3, "h", "w"]),
}
METADATA = {
    "camport.version": "0.1.0",
    "camport.method": '{"name": "groupcam", "options": {"groups": 32}}',
    "camport.layer": '["layer4"]',
    "camport.adapter": '{"name": "classification", "options": {}}',
}
WEIGHT = np.arange(12, dtype=np.float32).reshape(3, 4)


def classifier_nodes() -> list[onnx.NodeProto]:
    """outputs = mean over H W @ WEIGHT; score of target or top class;
    heatmap = sigmoid of the grey."""
    return [
        helper.make_node("ReduceMean", ["images", "spatial"], ["pooled"], keepdims=0),
        helper.make_node("MatMul", ["pooled", "weight"], ["outputs"]),
        helper.make_node("ArgMax", ["outputs"], ["top"], axis=1, keepdims=0),
        helper.make_node("Less", ["target", "zero"], ["unset"]),
        helper.make_node("Where", ["unset", "top", "target"], ["index"]),
        helper.make_node("Unsqueeze", ["index", "one"], ["column"]),
        helper.make_node("GatherElements", ["outputs", "column"], ["picked"], axis=1),
        helper.make_node("Squeeze", ["picked", "one"], ["score"]),
        *heatmap_nodes(),
        helper.make_node(
            "AveragePool", ["images"], ["feature_maps"], kernel_shape=[2, 2], strides=[2, 2]
        ),
    ]


def heatmap_nodes() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceMean", ["images", "one"], ["grey"], keepdims=0),
        helper.make_node("Sigmoid", ["grey"], ["heatmap"]),
    ]


def sum_nodes(names: list[str]) -> list[onnx.NodeProto]:
    """score = the sum of all further inputs, so that a test sees what arrived."""
    nodes = [helper.make_node("Cast", [n], [f"{n}_f"], to=TensorProto.FLOAT) for n in names]
    for n in names:
        axes = "one" if len(PORTS[n][1]) == 2 else ""
        nodes.append(
            helper.make_node(
                "ReduceSum", [f"{n}_f", axes], [f"{n}_s"], keepdims=0, noop_with_empty_axes=1
            )
        )
    return [*nodes, helper.make_node("Sum", [f"{n}_s" for n in names], ["score"]), *heatmap_nodes()]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """write(inputs=..., shapes=..., metadata=..., labels=..., preprocess=...) -> path of an .onnx
    file."""

    def make(
        inputs: tuple[str, ...] = ("images", "target"),
        shapes: dict[str, list] | None = None,
        metadata: dict[str, str] | None = None,
        labels: list[str] | None = None,
        name: str = "x.onnx",
    ) -> Path:
        classifier = inputs == ("images", "target")
        outputs = (
            ["outputs", "score", "heatmap", "feature_maps"] if classifier else ["score", "heatmap"]
        )
        nodes = classifier_nodes() if classifier else sum_nodes(list(inputs[1:]))
        constants = {"spatial": [2, 3], "zero": 0, "one": [1], "weight": WEIGHT}
        used = {edge for node in nodes for edge in node.input}
        graph = helper.make_graph(
            nodes,
            "tiny",
            *(
                [
                    helper.make_tensor_value_info(
                        n, PORTS[n][0], (shapes or {}).get(n, PORTS[n][1])
                    )
                    for n in names
                ]
                for names in (inputs, outputs)
            ),
            [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items() if k in used],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        onnx.checker.check_model(model)
        entries = dict(METADATA if metadata is None else metadata)
        if labels is not None:
            entries["camport.labels"] = json.dumps(labels)
        helper.set_model_props(model, entries)
        onnx.save(model, tmp_path / name)
        return tmp_path / name

    return make
