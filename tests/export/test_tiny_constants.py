"""Small constants survive in the file: a guard of 1e-12 beside a norm, a factor next to 1."""

import pytest
import torch
from torch import nn

import camport
from camport.export import to_onnx
from camport.runtime import load
from tests.marks import rare


class Guarded(nn.Module):
    """Features over their norm, which is 0 on black images."""

    def __init__(self, guard: float, factor: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.guard, self.factor = (
            nn.Conv2d(3, 4, 3, bias=False),
            nn.Linear(4, 5),
            guard,
            factor,
        )

    def forward(self, x):
        a = self.conv(x).relu()
        return self.fc(
            (a / (a.sum((1, 2, 3), keepdim=True) + self.guard) * self.factor).sum((2, 3))
        )


@pytest.mark.parametrize("guard", [1e-12, *rare(1e-8, 1e-30)])
def test_a_guard_beside_zero(tmp_path, guard):
    images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    to_onnx(
        camport.bind(Guarded(guard).eval(), "gradcam", "conv"), tmp_path / "guarded.onnx", images
    )
    result = load(tmp_path / "guarded.onnx")(torch.zeros(1, 3, 12, 12).numpy())
    assert torch.from_numpy(result.outputs).isfinite().all()


def test_a_factor_beside_one(tmp_path):
    images = torch.randn(2, 3, 12, 12, generator=torch.Generator().manual_seed(1))
    factor = 1 + 5e-6
    model = Guarded(1e-3, factor).eval()
    to_onnx(camport.bind(model, "gradcam", "conv"), tmp_path / "factor.onnx", images)
    import onnx

    held = [
        onnx.numpy_helper.to_array(t) for t in onnx.load(tmp_path / "factor.onnx").graph.initializer
    ]
    assert any(
        v.size == 1 and abs(float(v.reshape(-1)[0]) - factor) < 1e-7
        for v in held
        if v.dtype.kind == "f"
    )
