"""The float64 reference: its own forms of two operators are PyTorch's,
and nothing in it rounds to float32."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from camport.export.proof.float64_reference import Float64, in_float64


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"), [(1, 1, 1), (2, 2, 1), ((2, 1), (0, 2), (1, 2)), (3, 2, 2)]
)
def test_depthwise_is_pytorchs(kernel: int, stride, padding, dilation) -> None:
    x, weight, bias = draw(2, 4, 13, 12), draw(4, 1, kernel, kernel), draw(4)

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        leaf = x.detach().requires_grad_()
        y = F.conv2d(leaf, weight, bias, stride, padding, dilation, 4)
        return y.detach(), torch.autograd.grad(y, leaf, torch.cos(y.detach()))[0]

    expected = both(x)
    with Float64():
        got = both(x)
    for a, b in zip(got, expected, strict=True):
        assert (a - b).norm() <= 1e-13 * b.norm()


def test_hardsigmoid_gradient_is_exact() -> None:
    x = (4 * draw(200)).requires_grad_()
    with Float64():
        (got,) = torch.autograd.grad(F.hardsigmoid(x).sum(), x)
    assert torch.equal(got, (x.detach().abs() < 3).double() / 6)


def test_constants_and_casts_are_wide() -> None:
    def function(state, inputs):
        return {
            "y": (inputs["x"].float() + torch.arange(3).float() / 3 + torch.full((3,), 0.1))
            * state["w"]
        }

    x, w = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.7, 0.7, 0.7])
    got = in_float64(function, {"w": w}, {"x": x})["y"]
    expected = (x.double() + torch.arange(3).double() / 3 + 0.1) * w.double()
    assert got.dtype == torch.float64
    assert (got - expected).abs().max() < 1e-15
