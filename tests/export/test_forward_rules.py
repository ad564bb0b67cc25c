"""What ONNX lacks in forward passes is written with what it has: the file, its gradient too,
is PyTorch's."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import camport
from camport.errors import ExportError, LayerError
from camport.export import to_onnx

IMAGES = torch.rand(2, 3, 14, 14, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Maps [b,4,6,6], then the operator in question."""

    def __init__(self, operator: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Sigmoid())
        self.operator = operator
        self.head = nn.Linear(operator(torch.rand(1, 4, 6, 6)).numel(), 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.operator(self.features(x)).flatten(1))


def bound(operator: Callable[[Tensor], Tensor]) -> camport.Bound:
    return camport.bind(Net(operator).eval(), "hirescam", "features")


def gated(x: Tensor) -> Tensor:
    """Channel attention as CBAM has it."""
    return x * torch.sigmoid(F.adaptive_max_pool2d(x, 1))


OPERATORS = {
    "adaptive_max_pool to 1": gated,
    "adaptive_max_pool to parts": lambda x: F.adaptive_max_pool2d(x, (2, 3)),
    "adaptive_max_pool to overlapping parts": lambda x: F.adaptive_max_pool2d(x, (4, 5)),
    "adaptive_max_pool3d": lambda x: F.adaptive_max_pool3d(x[:, None], (2, 4, 3)),
    "var": lambda x: x / (1 + x.var((2, 3), keepdim=True)),
    "var of all, biased": lambda x: x[:, 0] * x.var(1, unbiased=False),
    "var_mean": lambda x: torch.cat(torch.var_mean(x, (2, 3)), 1),
    "kthvalue": lambda x: x * x.kthvalue(2, 3, keepdim=True).values,
    "median": lambda x: x.median(3).values,
    "prod": lambda x: (x + 0.5).prod(3),
    "cdist": lambda x: torch.cdist(x, x.flip(2) + 0.1),
    "cdist by sums": lambda x: torch.cdist(x, x.flip(2) + 0.1, p=1),
    "erfinv": lambda x: torch.erfinv(2 * x - 1),
    "rrelu": lambda x: F.rrelu(x - 0.5),
    "one_hot": lambda x: x * F.one_hot(x.argmax(3), 6),
    "take_along_dim": lambda x: torch.take_along_dim(x, x.argmax(3, keepdim=True), 3),
    "rms_norm without an epsilon": lambda x: F.rms_norm(x, [6]),
    "bilinear": lambda x: F.bilinear(
        x, x.flip(2), torch.linspace(-1, 1, 108).reshape(3, 6, 6).to(x)
    ),
}


def all_of_them(x: Tensor) -> Tensor:
    return torch.cat([operator(x).flatten(1) for operator in OPERATORS.values()], 1)


def test_one_file_with_every_operator(tmp_path: Path) -> None:
    report = to_onnx(bound(all_of_them), tmp_path / "x.onnx", IMAGES)
    assert report.lowered < 1e-12
    assert not report.flat


@pytest.mark.everything
@pytest.mark.parametrize("name", OPERATORS)
def test_exports(tmp_path: Path, name: str) -> None:
    report = to_onnx(bound(OPERATORS[name]), tmp_path / "x.onnx", IMAGES)
    assert report.lowered < 1e-12
    assert not report.flat


def test_complex_gradients_are_refused_by_operator(tmp_path: Path) -> None:
    explained = bound(lambda x: torch.fft.rfft2(x).abs())
    with pytest.raises(ExportError, match=r"aten\.\w+\.\w+ of complex numbers in Net"):
        to_onnx(explained, tmp_path / "x.onnx", IMAGES)
    assert not list(tmp_path.iterdir())


def test_an_operator_without_a_derivative_is_named() -> None:
    with pytest.raises(
        LayerError, match=r"no gradient there: derivative for aten::floor_divide is not implemented"
    ):
        bound(lambda x: x * (x // 0.3))(IMAGES)
