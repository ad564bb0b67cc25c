"""Every backward rule against PyTorch's own backward in float64."""

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn.attention import SDPBackend, sdpa_kernel

from camport.export.capture.whole_operators import PreserveOperators
from camport.export.onnx_file.supported import check_supported
from camport.export.rules import RULES
from tests.marks import mostly_rare, rare


def relative(value: Tensor, reference: Tensor) -> float:
    return ((value - reference).norm() / reference.norm().clamp_min(1e-300)).item()


def check(function, shape: tuple[int, ...], seed: int = 0, bound: float = 1e-12) -> None:
    """The gradient of `function`, by autograd and by the graph in which every rule was applied."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    cotangent = torch.randn(function(x).shape, generator=generator, dtype=torch.float64)

    def gradient(x: Tensor, cotangent: Tensor) -> Tensor:
        leaf = x.detach().requires_grad_()
        with torch.enable_grad():
            return torch.autograd.grad(function(leaf), leaf, cotangent)[0]

    expected = gradient(x, cotangent)
    with PreserveOperators():
        graph = make_fx(gradient, decomposition_table=RULES)(x, cotangent)
    left = [str(n.target) for n in graph.graph.nodes if "_backward" in str(n.target)]
    assert not left, left
    check_supported(graph)  # what is left of the forward pass has an ONNX form too
    got = graph(x, cotangent)
    assert got.shape == expected.shape
    assert relative(got, expected) <= bound
    assert expected.norm() > 0


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64)


@pytest.mark.parametrize("stride", [1, 2, *rare(3)])
@pytest.mark.parametrize("groups", [1, 2, *rare(4)])
@pytest.mark.parametrize(
    ("kernel", "padding", "dilation"),
    [(1, 0, 1), (1, 1, 1), (2, 0, 1), (3, 1, 1), (3, 0, 2), (3, 3, 1), (5, 2, 2)],
)
def test_convolution_2d(stride: int, groups: int, kernel: int, padding: int, dilation: int) -> None:
    weight = draw(8, 4 // groups, kernel, kernel)
    check(lambda x: F.conv2d(x, weight, None, stride, padding, dilation, groups), (2, 4, 12, 11))


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("stride", [(1, 2), (2, 1), (3, 2)])
def test_convolution_uneven(groups: int, stride: tuple[int, int]) -> None:
    weight = draw(4, 4 // groups, 3, 5)
    check(lambda x: F.conv2d(x, weight, None, stride, (2, 1), (1, 2), groups), (2, 4, 14, 15))


@pytest.mark.parametrize("stride", [2, 3])
@pytest.mark.parametrize("kernel", [2, 3, *rare(4, 5, 7)])
@pytest.mark.parametrize("padding", [0, 1, *rare(3)])
@pytest.mark.parametrize("size", [(9, 10), *rare(((12, 15),))])
def test_convolution_of_many_channels_strided(
    stride: int, kernel: int, padding: int, size: tuple[int, int]
) -> None:
    weight = draw(8, 9, kernel, kernel)
    check(lambda x: F.conv2d(x, weight, None, stride, padding), (2, 9, *size))


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("kernel", [1, 3])
def test_convolution_1d_3d(rank: int, stride: int, groups: int, kernel: int) -> None:
    convolve = {1: F.conv1d, 3: F.conv3d}[rank]
    weight = draw(4, 4 // groups, *[kernel] * rank)
    for size in (6, 7):
        check(
            lambda x: convolve(x, weight, None, stride, 1 if kernel > 1 else 0, 1, groups),
            (2, 4, *[size] * rank),
        )


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("groups", [1, 2])
def test_transposed_convolution(rank: int, stride: int, groups: int) -> None:
    convolve = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}[rank]
    weight = draw(4, 6 // groups, *[3] * rank)
    check(lambda x: convolve(x, weight, None, stride, 1, stride - 1, groups), (2, 4, *[5] * rank))
    check(lambda x: convolve(x, weight, None, stride, 2, 0, groups, 2), (2, 4, *[5] * rank))


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [(2, 2, 0, 1), (3, 2, 1, 1), (3, 1, 1, 1), (2, 3, 0, 2), (5, 1, 2, 1)],
)
def test_max_pool(
    rank: int, ceil_mode: bool, kernel: int, stride: int, padding: int, dilation: int
) -> None:
    pool = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}[rank]
    for size in (9,):
        check(
            lambda x: pool(x, kernel, stride, padding, dilation, ceil_mode), (2, 3, *[size] * rank)
        )


@pytest.mark.parametrize("rank", [2, *rare(1, 3)])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1), (2, 3, 0), (3, 3, 1)]
)
def test_average_pool(
    rank: int, ceil_mode: bool, count_include_pad: bool, kernel: int, stride: int, padding: int
) -> None:
    pool = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}[rank]
    for size in (6, 8):
        check(
            lambda x: pool(x, kernel, stride, padding, ceil_mode, count_include_pad),
            (2, 3, *[size] * rank),
        )


def test_average_pool_divisor() -> None:
    check(lambda x: F.avg_pool2d(x, 3, 2, 1, divisor_override=5), (2, 3, 7, 8))
    check(lambda x: F.avg_pool2d(x, 2, 2, divisor_override=3), (2, 3, 8, 8))


@pytest.mark.parametrize("outputs", [1, 3, 4, *rare(2, 6)])
@pytest.mark.parametrize("rank", [1, 2, *rare(3)])
@pytest.mark.parametrize("kind", ["avg", "max"])
def test_adaptive_pool(outputs: int, rank: int, kind: str) -> None:
    pool = getattr(F, f"adaptive_{kind}_pool{rank}d")
    for size in (6, 7):
        check(lambda x: pool(x, outputs), (2, 3, *[size] * rank))


ACTIVATIONS = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hardtanh": lambda x: F.hardtanh(x, -0.7, 0.4),
    "threshold": lambda x: F.threshold(x, 0.3, -1.0),
    "leaky_relu": lambda x: F.leaky_relu(x, 0.1),
    "elu": F.elu,
    "elu_alpha": lambda x: F.elu(x, 0.7),
    "selu": F.selu,
    "celu": lambda x: F.celu(x, 0.6),
    "gelu": F.gelu,
    "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "silu": F.silu,
    "mish": F.mish,
    "hardswish": lambda x: F.hardswish(3 * x),
    "hardsigmoid": lambda x: F.hardsigmoid(3 * x),
    "sigmoid": torch.sigmoid,
    "logsigmoid": F.logsigmoid,
    "tanh": torch.tanh,
    "softplus": F.softplus,
    "softplus_beta": lambda x: F.softplus(x, 2.0, 1.5),
    "softsign": F.softsign,
    "softshrink": F.softshrink,
    "hardshrink": F.hardshrink,
    "tanhshrink": F.tanhshrink,
    "glu": lambda x: F.glu(x, 1),
    "prelu": lambda x: F.prelu(x, torch.tensor([0.1, 0.2, 0.3, 0.4], dtype=x.dtype)),
    "exp": torch.exp,
    "sqrt": lambda x: torch.sqrt(x * x + 1),
    "abs": torch.abs,
    "clamp": lambda x: x.clamp(-0.5, 0.6),
    "norm": lambda x: F.normalize(x, dim=1),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str) -> None:
    # PyTorch's own float64 kernel of hardsigmoid's gradient has 1/6 in float32
    check(ACTIVATIONS[name], (2, 4, 5, 6), bound=1e-7 if name == "hardsigmoid" else 1e-12)


@pytest.mark.parametrize("dim", [1, -1])
@pytest.mark.parametrize("function", [F.softmax, F.log_softmax])
def test_softmax(function, dim: int) -> None:
    check(lambda x: function(x, dim), (2, 5, 6))


def test_attention() -> None:
    with sdpa_kernel(SDPBackend.MATH):
        check(lambda x: F.scaled_dot_product_attention(*x.unbind(0)), (3, 2, 4, 5, 6))


NORMS = {
    "batch": nn.BatchNorm2d(6),
    "batch_plain": nn.BatchNorm2d(6, affine=False),
    "batch_statistics": nn.BatchNorm2d(6, track_running_stats=False),
    "layer": nn.LayerNorm([4, 5]),
    "layer_plain": nn.LayerNorm(5, elementwise_affine=False),
    "group": nn.GroupNorm(3, 6),
    "group_plain": nn.GroupNorm(2, 6, affine=False),
    "instance": nn.InstanceNorm2d(6, affine=True),
    "instance_tracked": nn.InstanceNorm2d(6, track_running_stats=True),
}


@pytest.mark.parametrize("name", NORMS)
def test_normalization(name: str) -> None:
    torch.manual_seed(0)
    module = NORMS[name].double().eval().requires_grad_(False)
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            tensor.data.uniform_(0.5, 1.5)
    check(module, (3, 6, 4, 5))


SHAPES = {
    "slice": lambda x: x[:, 1:3],
    "slice_end": lambda x: x[..., -2:],
    "slice_step": lambda x: x[:, ::2, 1::3],
    "select": lambda x: x[:, 2],
    "select_last": lambda x: x[:, :, -1],
    "cat": lambda x: torch.cat([x, 2 * x], 1),
    "stack": lambda x: torch.stack([x, x * x], 0),
    "chunk": lambda x: x.chunk(2, 1)[0] * x.chunk(2, 1)[1],
    "split": lambda x: x.split([1, 3], 1)[1],
    "unbind": lambda x: x.unbind(1)[1],
    "expand": lambda x: x[:, :1].expand(-1, 4, -1, -1) * x,
    "gather": lambda x: x.gather(1, torch.tensor([0, 3, 0]).reshape(1, 3, 1, 1).expand(2, 3, 5, 6)),
    "index_select": lambda x: x.index_select(1, torch.tensor([0, 2, 2])),
    "index": lambda x: x[:, torch.tensor([3, 0, 3])],
    "roll": lambda x: x.roll((1, -2), (2, 3)),
    "flip": lambda x: x.flip(2),
    "pad": lambda x: F.pad(x, (1, 2, 0, 1)),
    "pad_crop": lambda x: F.pad(x, (-1, 2, 0, -1)),
    "reflect": lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"),
    "replicate": lambda x: F.pad(x, (1, 2, 2, 1), mode="replicate"),
    "circular": lambda x: F.pad(x, (1, 2, 2, 1), mode="circular"),
    "permute": lambda x: x.permute(0, 2, 3, 1).reshape(2, 30, 4).transpose(1, 2),
    "pixel_shuffle": lambda x: F.pixel_shuffle(x, 2),
    "pixel_unshuffle": lambda x: F.pixel_unshuffle(x[..., :4, :], 2),
    "unfold": lambda x: F.unfold(x, 3, padding=1, stride=2),
    "tensor_unfold": lambda x: x.unfold(2, 3, 2),
    "channel_shuffle": lambda x: F.channel_shuffle(x, 2),
    "cumsum": lambda x: x.cumsum(1),
    "amax": lambda x: x.amax((2, 3)),
    "max": lambda x: x.max(1).values,
    "topk": lambda x: x.topk(2, 1).values,
    "sort": lambda x: x.sort(1).values,
    "logsumexp": lambda x: x.logsumexp(1),
    "std": lambda x: x.std((2, 3)),
    "var": lambda x: x.var((2, 3), correction=0),
    "prod": lambda x: x.prod(1),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "repeat_interleave": lambda x: x.repeat_interleave(2, 1),
    "masked_fill": lambda x: x.masked_fill(x > 0.5, 0.1),
    "where": lambda x: torch.where(x > 0, x, x * x),
    "diagonal": lambda x: x.diagonal(0, 2, 3),
    "einsum": lambda x: torch.einsum("bchw,bdhw->bcd", x, x),
    "movedim": lambda x: x.movedim(1, -1) @ torch.linspace(0, 1, 12, dtype=x.dtype).reshape(4, 3),
    "dropout": lambda x: F.dropout(x, 0.5, training=False),
    "norm": lambda x: torch.linalg.vector_norm(x, dim=1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_shape(name: str) -> None:
    check(SHAPES[name], (2, 4, 5, 6))


@pytest.mark.parametrize(
    ("mode", "align"),
    [
        ("nearest", None),
        ("nearest-exact", None),
        *((m, a) for m in ("bilinear", "bicubic") for a in (False, True)),
    ],
)
@pytest.mark.parametrize("size", [(8, 10), (7, 11), (3, 4), (1, 9)])
def test_resize(mode: str, align: bool | None, size: tuple[int, int]) -> None:
    check(lambda x: F.interpolate(x, size, mode=mode, align_corners=align), (2, 3, 4, 5))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("factor", [2, 1.5, (2, 0.7)])
def test_resize_by_factor(mode: str, factor) -> None:
    check(lambda x: F.interpolate(x, scale_factor=factor, mode=mode), (2, 3, 6, 5))


@pytest.mark.parametrize(
    ("rank", "mode"), [(1, "linear"), (3, "trilinear"), (1, "nearest"), (3, "nearest")]
)
def test_resize_1d_3d(rank: int, mode: str) -> None:
    check(lambda x: F.interpolate(x, scale_factor=2, mode=mode), (2, 3, *[4] * rank))
    check(lambda x: F.interpolate(x, size=[7] * rank, mode=mode), (2, 3, *[4] * rank))


def test_embedding() -> None:
    tokens = torch.tensor([[0, 3, 3], [2, 1, 0]])
    check(lambda x: F.embedding(tokens, x), (5, 4))
    check(lambda x: F.embedding(tokens, x, padding_idx=1), (5, 4))


@pytest.mark.parametrize(
    ("mode", "padding", "align"),
    mostly_rare(
        product(("bilinear", "nearest"), ("zeros", "border", "reflection"), (False, True)),
        [
            ("bilinear", "zeros", False),
            ("bilinear", "reflection", True),
            ("nearest", "border", False),
        ],
    ),
)
def test_grid_sample(mode: str, padding: str, align: bool) -> None:
    """With respect to the image, and to the grid,
    which reaches outside of the image on every side."""
    image = draw(2, 3, 5, 6)
    grid = 1.5 * draw(2, 4, 7, 2)
    check(lambda x: F.grid_sample(x, grid, mode, padding, align), (2, 3, 5, 6))
    if mode == "bilinear":
        check(lambda x: F.grid_sample(image, 1.5 * x, mode, padding, align), (2, 4, 7, 2))
        theta = draw(2, 2, 3)
        check(
            lambda x: F.grid_sample(
                x, F.affine_grid(theta * x.mean(), [2, 3, 4, 4], align), mode, padding, align
            ),
            (2, 3, 5, 6),
        )
