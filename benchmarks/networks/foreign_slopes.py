"""Grad-CAM of an .onnx file by ONNX Runtime alone: activations from one run,
gradients by finite differences.

The file is cut at the layer. What lies behind it takes the layer's maps as an input, and each
channel is moved up and down as a whole: that is all of the gradient that Grad-CAM reads.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import helper

STEPS = (2e-3, 8e-3, 3e-2)
"""How far a channel is moved, each tried, as a share of the root mean square of all of them."""

Score = Callable[[Mapping[str, np.ndarray]], float]


def session_of(model: onnx.ModelProto | Path) -> Any:
    """A model on the CPU, quietly."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    data = str(model) if isinstance(model, Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def freed(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model for any number of images, where it was exported for several at once."""
    for value in model.graph.input:
        axes = value.type.tensor_type.shape.dim
        if len(axes) == 4 and axes[0].dim_value > 1:
            axes[0].dim_param = "b"
            del model.graph.value_info[:]
            outputs = [onnx.ValueInfoProto(name=output.name) for output in model.graph.output]
            del model.graph.output[:]
            model.graph.output.extend(outputs)
            break
    return model


def with_output(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with one more tensor among its outputs."""
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    if all(value.name != name for value in changed.graph.output):
        changed.graph.output.append(onnx.ValueInfoProto(name=name))
    return changed


def behind(model: onnx.ModelProto, layer: str, outputs: Sequence[str]) -> onnx.ModelProto:
    """What leads from a tensor, an input now, to some outputs;
    the images stay an input where they are read besides."""
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    graph, needed, kept = changed.graph, set(outputs), []
    for node in reversed(graph.node):
        made = set(node.output) & needed - {layer}
        if made:
            kept.append(node)
            needed.update(node.input)
            needed.update(
                n
                for a in node.attribute
                if a.HasField("g")
                for inner in a.g.node
                for n in inner.input
            )
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept[::-1]]
    inputs = [v for v in graph.input if v.name in needed and v.name != layer]
    inputs.append(helper.make_tensor_value_info(layer, onnx.TensorProto.FLOAT, None))
    del graph.node[:], graph.output[:]
    graph.node.extend(nodes)
    graph.output.extend(onnx.ValueInfoProto(name=name) for name in outputs)
    held = [onnx.ValueInfoProto.FromString(v.SerializeToString()) for v in inputs]
    del graph.input[:]
    graph.input.extend(held)
    return changed


def grad_cam(
    model: onnx.ModelProto,
    layer: str,
    image: Mapping[str, np.ndarray],
    outputs: Sequence[str],
    score: Score,
) -> tuple[list[np.ndarray], np.ndarray]:
    """relu(sum_k mean(dy/dA_k) A_k) [h,w] of one image, for each of STEPS,
    and the layer's maps A [c,h,w]."""
    first = session_of(with_output(model, layer))
    maps = first.run([layer], dict(image))[0]
    run = session_of(behind(model, layer, outputs))
    taken = {port.name for port in run.get_inputs()}
    besides = {name: array for name, array in image.items() if name in taken}

    def y(moved: np.ndarray) -> float:
        return score(
            dict(zip(outputs, run.run(list(outputs), {**besides, layer: moved}), strict=True))
        )

    size = np.sqrt(np.mean(np.square(maps, dtype=np.float64)))
    totals = []
    for step in (np.float32(share * size) for share in STEPS):
        total = np.zeros(maps.shape[2:])
        for channel in range(maps.shape[1]):
            moved = maps.copy()
            moved[:, channel] += step
            up = y(moved)
            moved[:, channel] = maps[:, channel] - step
            slope = (up - y(moved)) / (2 * float(step))
            total += slope / maps[0, 0].size * maps[0, channel]
        totals.append(np.maximum(total, 0))
    return totals, maps[0]
