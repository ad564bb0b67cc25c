"""Max-pooling that is faster: the same values and gradients as PyTorch's, to the bit."""

import pytest
import torch
from torch import nn

import camport
from camport.core.isolation.fast_max_pool import pooling
from camport.core.isolation.private_copy import double_of
from tests.counting import seen_by

LAST = torch.channels_last


@pytest.mark.parametrize("stride", [1, 2, (1, 3)])
@pytest.mark.parametrize(("kernel", "padding"), [(1, 0), (2, 0), (2, 1), ((2, 3), 1), (5, (2, 1))])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("size", [(7, 9), (8, 12), (13, 9)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, LAST])
def test_equal_to_pytorch(kernel, stride, padding, ceil_mode, size, layout):
    pool = nn.MaxPool2d(kernel, stride, padding, ceil_mode=ceil_mode)
    faster = double_of(pool, pooling)
    # with equal values in a window
    x = (2 * torch.randn(2, 3, *size)).round().contiguous(memory_format=layout)
    x[0, 0, 2, 2], x[1, 1, 3, 4] = torch.nan, -torch.inf
    leaf = x.clone().requires_grad_()
    wanted = pool(leaf)
    cotangent = torch.randn_like(wanted)
    (gradient,) = torch.autograd.grad(wanted, leaf, cotangent)
    recorded = faster(leaf)
    assert torch.equal(torch.autograd.grad(recorded, leaf, cotangent)[0], gradient)
    for y in (recorded, faster(x)):
        assert torch.equal(y.nan_to_num(9e9), wanted.nan_to_num(9e9))
        assert y.is_contiguous(memory_format=layout)


class Own(nn.MaxPool2d):
    """Says another thing."""

    def forward(self, x):
        return -super().forward(x)


def test_own_classes_and_what_pooling_cannot_do_are_left():
    x = torch.randn(1, 2, 6, 6)
    assert type(double_of(Own(2), pooling)) is Own
    for pool in (nn.MaxPool2d(2, dilation=2), nn.MaxPool2d(3, return_indices=True)):
        wanted, found = pool(x), double_of(pool, pooling)(x)
        assert all(torch.equal(a, b) for a, b in zip(wanted, found, strict=True))
    with pytest.raises(RuntimeError, match="pad should be"):
        double_of(nn.MaxPool2d(2, padding=2), pooling)(x)
    with pytest.raises(RuntimeError, match="too small"):
        double_of(nn.MaxPool2d(7), pooling)(x)
    assert torch.equal(double_of(nn.MaxPool2d(2), pooling)(x[0]), nn.MaxPool2d(2)(x[0]))


def test_hooks_run_and_the_users_model_is_left():
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    ).eval()
    seen = seen_by(model[1])
    camport.explain(model, torch.randn(1, 3, 10, 10), "saliency", 1)
    assert seen == [1]
    assert type(model[1]) is nn.MaxPool2d
