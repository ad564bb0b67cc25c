"""Integer files (QOperator format): values of ONNX Runtime,
gradients straight through the rounding."""

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from torch import nn

import camport
from camport.export import to_onnx
from camport.models.onnx import load_onnx
from camport.runtime import load
from tests.nets import images, seeded

SIZE = (16, 20)
ROOM = "com.microsoft"


class Small(nn.Module):
    """Two convolutions, a shift so that zero points are no 0, and a linear head."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2, self.fc = (
            nn.Conv2d(3, 6, 3, 2, 1),
            nn.Conv2d(6, 8, 3, 1, 1),
            nn.Linear(8, 5),
        )

    def forward(self, x):
        return self.fc(self.conv2(F.relu(self.conv1(x))).mean((2, 3)))


class Every(nn.Module):
    """What ONNX Runtime's quantiser has integer operators for."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.Conv2d(8, 8, 3, 1, 1),
            nn.Conv2d(8, 8, 3, 1, 1),
        )
        self.d, self.fc, self.mix = (
            nn.Conv2d(16, 8, 1),
            nn.Linear(8, 5),
            nn.Parameter(torch.randn(5, 5)),
        )

    def forward(self, x):
        x = F.relu(self.a(x))
        y = F.max_pool2d(F.relu(self.b(x) + x), 3, 1, 1)
        z = F.leaky_relu(self.c(y), 0.1)
        w = F.avg_pool2d(self.d(torch.cat([y, z * torch.sigmoid(z)], 1)), 2)
        w = F.interpolate(F.adaptive_avg_pool2d(F.pad(w, (0, 1, 1, 0)), 1), scale_factor=2.0)
        return self.fc(w[:, :, 1, 1].flatten(1)).softmax(1) @ self.mix


class Noise(CalibrationDataReader):
    def __init__(self):
        self.left = iter(
            [{"images": images(2, SIZE, torch.float32, seed=k).numpy()} for k in range(4)]
        )

    def get_next(self):
        return next(self.left, None)


def quantised(
    path: Path, model: nn.Module, activations: QuantType, weights: QuantType, *, channels: bool
) -> None:
    plain = path.with_name("plain.onnx")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's, of its older exporter
        torch.onnx.export(
            model,
            (images(2, SIZE, torch.float32),),
            plain,
            dynamo=False,
            input_names=["images"],
            dynamic_axes={"images": {0: "b"}},
        )
    logging.disable(logging.WARNING)
    try:
        quantize_static(
            plain,
            path,
            Noise(),
            QuantFormat.QOperator,
            per_channel=channels,
            activation_type=activations,
            weight_type=weights,
        )
    finally:
        logging.disable(logging.NOTSET)


def of_runtime(path: Path, x: torch.Tensor) -> np.ndarray:
    return onnxruntime.InferenceSession(path).run(None, {"images": x.numpy()})[0]


KINDS = {
    "u8s8": (QuantType.QUInt8, QuantType.QInt8, False),
    "u8u8": (QuantType.QUInt8, QuantType.QUInt8, False),
    "s8s8 by channel": (QuantType.QInt8, QuantType.QInt8, True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_integer_operator_gives_the_runtimes_levels(tmp_path, kind):
    activations, weights, channels = KINDS[kind]
    path = tmp_path / "q.onnx"
    quantised(path, seeded(Every(), dtype=torch.float32), activations, weights, channels=channels)
    found = {node.op_type for node in onnx.load(path).graph.node}
    assert {
        "QLinearConv",
        "QLinearAdd",
        "QLinearLeakyRelu",
        "QLinearSigmoid",
        "QLinearMul",
        "QLinearConcat",
    } < found
    assert {
        "QLinearAveragePool",
        "QLinearGlobalAveragePool",
        "QGemm",
        "QLinearMatMul",
        "QLinearSoftmax",
    } < found
    x = images(3, SIZE, torch.float32, seed=9)
    np.testing.assert_allclose(
        load_onnx(path).model(x).detach().numpy(), of_runtime(path, x), atol=1e-6
    )


def straight(x, scale, zero, low, high):
    """Rounded to levels and back; the gradient of the identity inside the range."""
    exact = x / scale
    return ((exact + (exact.round() - exact).detach() + zero).clamp(low, high) - zero) * scale


def by_hand(path: Path, x: torch.Tensor, cls: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Grad-CAM of `Small` at the second convolution, from the file's numbers alone,
    and its outputs."""
    proto = onnx.load(path)
    stored = {
        t.name: torch.from_numpy(numpy_helper.to_array(t).copy()) for t in proto.graph.initializer
    }
    nodes = {node.op_type: node for node in reversed(proto.graph.node)}
    conv1, conv2 = (node for node in proto.graph.node if node.op_type == "QLinearConv")
    low, high = (-128, 127) if stored[conv1.input[2]].dtype == torch.int8 else (0, 255)

    def parameters(scale, zero):
        return stored[scale], stored[zero].float(), low, high

    def weight(node, at, axis=0):
        shape = [-1 if i == axis else 1 for i in range(stored[node.input[at]].dim())]
        scale, zero = (stored[node.input[at + i]] for i in (1, 2))
        scale, zero = (v.reshape(shape) if v.numel() > 1 else v for v in (scale, zero.float()))
        return (stored[node.input[at]].float() - zero) * scale

    def bias(node, at, x_scale, w_scale):
        return stored[node.input[at]].float() * stored[x_scale] * stored[w_scale]

    a = straight(x, *parameters(*nodes["QuantizeLinear"].input[1:3]))
    maps = None
    for node, step in ((conv1, 2), (conv2, 1)):
        a = F.conv2d(a, weight(node, 3), bias(node, 8, node.input[1], node.input[4]), step, 1)
        a = straight(a, *parameters(*node.input[6:8]))
        maps = a
    gemm = nodes["QGemm"]
    pooled = straight(maps.mean((2, 3)), *parameters(*gemm.input[1:3]))
    out = F.linear(pooled, weight(gemm, 3), bias(gemm, 6, gemm.input[1], gemm.input[4]))
    out = straight(out, *parameters(*gemm.input[7:9]))
    (gradient,) = torch.autograd.grad(out[:, cls].sum(), maps)
    return (gradient.mean((2, 3), keepdim=True) * maps).sum(1).relu(), out


@pytest.mark.parametrize("kind", ["u8u8", "s8s8 by channel"])
def test_maps_are_those_of_real_numbers(tmp_path, kind):
    """Of levels they would be shifted by the zero point.
    The layer goes by the integer node's own name."""
    activations, weights, channels = KINDS[kind]
    path = tmp_path / "q.onnx"
    quantised(path, seeded(Small(), dtype=torch.float32), activations, weights, channels=channels)
    x = images(2, SIZE, torch.float32, seed=9)
    wanted, outputs = by_hand(path, x.requires_grad_(), 1)
    got = camport.explain(path, x.detach(), "gradcam", 1, layer="/conv2/Conv_quant")
    np.testing.assert_allclose(outputs.detach().numpy(), of_runtime(path, x.detach()), atol=1e-6)
    assert wanted.max() > 0
    np.testing.assert_allclose(got.raw.numpy(), wanted.detach().numpy(), rtol=1e-4, atol=1e-6)
    chosen = camport.bind(path, "gradcam")
    np.testing.assert_allclose(chosen(x.detach(), 1).raw.numpy(), got.raw.numpy(), rtol=1e-5)


def test_it_is_exported(tmp_path):
    path, out = tmp_path / "q.onnx", tmp_path / "out.onnx"
    quantised(path, seeded(Small(), dtype=torch.float32), *KINDS["u8u8"][:2], channels=False)
    x = images(2, SIZE, torch.float32, seed=9)
    bound = camport.bind(path, "gradcam")
    to_onnx(bound, out, x)
    result = load(out)(x.numpy(), target=1)
    np.testing.assert_allclose(result.heatmap, bound(x, 1).heatmap.numpy(), atol=1e-5)
    np.testing.assert_allclose(result.outputs, of_runtime(path, x), atol=1e-6)


@pytest.mark.parametrize("method", ["eigencam", "occlusion"])
def test_a_foreign_node_is_given_integers(tmp_path, method):
    """NhwcMaxPool takes integers alone, and QuantizeLinear's levels are floats here."""
    stored = {
        "w": np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32),
        "scale": np.array(0.04, np.float32),
        "zero": np.array(117, np.uint8),
    }
    nodes = [
        helper.make_node("Conv", ["images", "w"], ["maps"]),
        helper.make_node("QuantizeLinear", ["maps", "scale", "zero"], ["levels"]),
        helper.make_node("Transpose", ["levels"], ["last"], perm=[0, 2, 3, 1]),
        helper.make_node(
            "NhwcMaxPool", ["last"], ["pooled"], domain=ROOM, kernel_shape=[2, 2], strides=[2, 2]
        ),
        helper.make_node("Transpose", ["pooled"], ["first"], perm=[0, 3, 1, 2]),
        helper.make_node("DequantizeLinear", ["first", "scale", "zero"], ["real"]),
        helper.make_node("GlobalAveragePool", ["real"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, *SIZE])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["b", 4])],
        [numpy_helper.from_array(array, name) for name, array in stored.items()],
    )
    sets = [helper.make_opsetid("", 17), helper.make_opsetid(ROOM, 1)]
    path = tmp_path / "foreign.onnx"
    onnx.save(helper.make_model(graph, opset_imports=sets, ir_version=8), path)
    x = images(2, SIZE, torch.float32)
    got = camport.explain(path, x, method, 1)
    np.testing.assert_allclose(got.outputs.numpy(), of_runtime(path, x), atol=1e-6)
    assert got.heatmap.amax(dim=(1, 2)).tolist() == [1, 1]
