"""Every ONNX form of ours says in ONNX Runtime what its operator says in PyTorch."""

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from camport.export.onnx_file import translations
from camport.export.onnx_file.from_graph import OPSET
from camport.export.operators.registry import FORMS
from camport.export.quiet import quiet
from tests.export.operator_examples import EXAMPLES, calls, named


class Called(nn.Module):
    """One operator, what is no tensor among its arguments held."""

    def __init__(self, operator, args):
        super().__init__()
        self.operator, self.args = operator, args

    def forward(self, *tensors):
        given = iter(tensors)
        return self.operator(*(next(given) if isinstance(a, Tensor) else a for a in self.args))


def test_every_form_has_examples():
    """A form without them is compared with nothing: give it some, those of its edges among them."""
    assert [str(operator) for operator in FORMS if not EXAMPLES.get(operator)] == []


@pytest.mark.parametrize(("operator", "args"), calls(), ids=named)
def test_in_onnx_runtime(operator, args, tmp_path):
    args = tuple(a.float() if isinstance(a, Tensor) and a.is_floating_point() else a for a in args)
    tensors, path = tuple(a for a in args if isinstance(a, Tensor)), tmp_path / "x.onnx"
    with quiet():
        program = torch.export.export(Called(operator, args), tensors)
        torch.onnx.export(
            program,
            custom_translation_table=translations.table(OPSET),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        ).save(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feeds = {
        port.name: tensor.numpy()
        for port, tensor in zip(session.get_inputs(), tensors, strict=True)
    }
    expected = operator(*args).numpy()
    (got,) = session.run(None, feeds)
    assert got.shape == expected.shape
    np.testing.assert_allclose(
        got, expected, rtol=2e-6, atol=1e-6 * np.abs(expected[np.isfinite(expected)]).max()
    )
