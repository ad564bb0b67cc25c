"""Square matrices used as they are and transposed: parted, with the same result to the last bit."""

from collections import Counter

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from camport.export.onnx_file.square_matrices import part_square_matrices

TRANSPOSED = "t = Transpose <perm = [1, 0]> (w)  y = MatMul (x, t)"
GEMM = "y = Gemm <transB = 1> (x, w, bias)"


def graph(body: str, size: tuple[int, int] = (4, 4)) -> ir.Model:
    columns = size[1]
    model = onnx.parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 18]> g (float[b, {columns}] x) => (float[b,'
        f" {columns}] z) {{ {body} }}"
    )
    used = {name for node in model.graph.node for name in node.input}
    generator = np.random.default_rng(0)
    for name, shape in {"w": size, "bias": (columns,)}.items():
        if name in used:
            value = generator.standard_normal(shape).astype(np.float32)
            model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    return ir.from_proto(model)


def run(model: ir.Model) -> np.ndarray:
    content = ir.to_proto(model).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    columns = session.get_inputs()[0].shape[1]
    x = np.random.default_rng(1).standard_normal((3, columns)).astype(np.float32)
    return session.run(None, {"x": x})[0]


@pytest.mark.parametrize(
    ("body", "places"),
    [
        (f"{TRANSPOSED}  z = MatMul (y, w)", 1),
        (f"{GEMM}  z = Gemm (y, w, bias)", 1),
        (f"{TRANSPOSED}  u = MatMul (y, w)  z = MatMul (u, w)", 2),
        ("u = MatMul (x, w)  z = Gemm <transB = 1> (u, w)", 1),
    ],
)
def test_parted_and_equal_to_the_last_bit(body, places) -> None:
    model = graph(body)
    before = run(model)
    assert part_square_matrices(model) == places
    assert np.array_equal(run(model), before)
    assert Counter(node.op_type for node in model.graph)["Neg"] == places + 1
    assert part_square_matrices(model) == 0  # and it is done


@pytest.mark.parametrize(
    ("body", "size"),
    [
        ("y = MatMul (x, w)  z = MatMul (y, w)", (4, 4)),
        (f"{TRANSPOSED}  z = MatMul (y, t)", (4, 4)),
        (f"{TRANSPOSED}  z = MatMul (y, w)", (5, 4)),
        (f"{TRANSPOSED}  s = Mul (y, y)  z = Add (s, w)", (4, 4)),
    ],
)
def test_what_nobody_confuses_stays(body, size) -> None:
    model = graph(body, size)
    before = str(model)
    assert part_square_matrices(model) == 0
    assert str(model) == before
