"""Every imported operator against ONNX Runtime, in the forms that its opsets have."""

import numpy as np
import onnxruntime
import pytest

from tests.models.files import Const, check_node, ints, real

X = real(2, 4, 7, 9)
IDS = np.array([[0, 2], [-1, 1]], np.int64)
I32 = np.arange(24, dtype=np.int64).reshape(2, 3, 4) - 9
BOOL = real(2, 3) > 0


def case(op, *inputs, opset=17, **options):
    shown = ",".join(f"{k}={v}" for k, v in options.items())
    return pytest.param(op, inputs, opset, options, id=f"{op}-{opset}-{shown}"[:90])


ELEMENTWISE = [
    *(
        case(op, X)
        for op in (
            "Abs",
            "Ceil",
            "Cos",
            "Erf",
            "Exp",
            "Floor",
            "Neg",
            "Round",
            "Sign",
            "Sin",
            "Sinh",
        )
    ),
    *(
        case(op, X)
        for op in ("Tan", "Tanh", "Atan", "Asinh", "Cosh", "Reciprocal", "Sigmoid", "Identity")
    ),
    *(case(op, np.tanh(X)) for op in ("Acos", "Asin", "Atanh")),
    *(case(op, real(2, 3, low=1.0)) for op in ("Log", "Sqrt", "Acosh")),
    *(case(op, X, real(4, 1, 9, seed=1)) for op in ("Add", "Sub", "Mul", "Div")),
    *(case(op, X, Const(1.5)) for op in ("Add", "Sub", "Mul", "Div")),
    *(case(op, I32, Const(3)) for op in ("Add", "Div", "Mod", "Mul")),
    case("Div", I32, ints(-3)),
    case("Mod", X, Const(0.7), fmod=1),
    case("Pow", X, Const(2.0)),
    case("Pow", real(2, 3, low=0.1), Const(real(3, seed=1))),
    case("Pow", real(2, 3, low=0.1), Const(3, np.int64)),
    *(
        case(op, X, real(2, 4, 7, 9, seed=1), real(9, seed=2))
        for op in ("Min", "Max", "Sum", "Mean")
    ),
    *(case("Cast", X, to=to) for to in (1, 6, 7, 9, 11)),
    case("Cast", I32, to=1, opset=9),
    *(
        case(op, I32, Const(0))
        for op in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    ),
    *(case(op, BOOL, BOOL[:, ::-1].copy()) for op in ("And", "Or", "Xor")),
    case("Not", BOOL),
    case("Where", BOOL, real(2, 3), Const(0.0)),
    case("IsNaN", np.array([1, np.nan], np.float32)),
    case("IsInf", np.array([np.inf, -np.inf, 1], np.float32), detect_negative=0),
]

ACTIVATION = [
    *(
        case(op, X)
        for op in ("Relu", "LeakyRelu", "Elu", "Celu", "Selu", "HardSwish", "Softplus", "Softsign")
    ),
    *(case(op, X) for op in ("HardSigmoid", "ThresholdedRelu", "Shrink")),
    case("Mish", X, opset=18),
    case("HardSigmoid", X, alpha=1 / 6),
    case("LeakyRelu", X, alpha=0.3),
    case("Elu", X, alpha=0.7),
    case("Selu", X, alpha=1.1, gamma=0.9),
    case("Gelu", X, opset=20),
    case("Gelu", X, opset=20, approximate="tanh"),
    case("Swish", X, opset=24),
    case("Swish", X, opset=24, alpha=1.7),
    case("PRelu", X, Const(real(4, 1, 1))),
    case("PRelu", X, Const(real(1)), opset=9),
    case("Clip", X, Const(0.0), Const(6.0)),
    case("Clip", X, Const(-0.5), Const(0.5)),
    case("Clip", X, None, Const(0.5)),
    case("Clip", X, Const(0.0)),
    case("Clip", X, min=0.0, max=0.4, opset=9),
    case("Clip", I32, Const(2, np.int64), opset=12),
    *(
        case(op, X, axis=axis, opset=opset)
        for op in ("Softmax", "LogSoftmax")
        for axis, opset in ((1, 9), (-1, 13))
    ),
    case("Softmax", X, opset=11),
    case("Softmax", X, opset=13),
    case("Hardmax", X, axis=1),
    case("Dropout", X, opset=9, ratio=0.5),
    case("Dropout", X, Const(0.5), Const(False), opset=13),
]

CONVOLUTION = [
    case("Conv", X, Const(real(6, 4, 3, 3)), Const(real(6))),
    case("Conv", X, Const(real(6, 4, 3, 3)), strides=[2, 1], pads=[1, 0, 2, 1], dilations=[1, 2]),
    case("Conv", X, Const(real(4, 1, 5, 5)), group=4, pads=[2, 2, 2, 2], kernel_shape=[5, 5]),
    *(
        case("Conv", X, Const(real(6, 4, 4, 3)), auto_pad=p, strides=[2, 3])
        for p in ("SAME_UPPER", "SAME_LOWER")
    ),
    case("Conv", X, Const(real(6, 4, 3, 3)), auto_pad="VALID"),
    case("Conv", X, real(6, 4, 3, 3)),
    case("Conv", real(2, 3, 11), Const(real(5, 3, 3)), pads=[1, 1]),
    case("Conv", real(1, 2, 5, 6, 7), Const(real(3, 2, 3, 3, 3))),
    case("ConvTranspose", X, Const(real(4, 3, 3, 3)), Const(real(3))),
    case(
        "ConvTranspose",
        X,
        Const(real(4, 3, 3, 3)),
        strides=[2, 2],
        pads=[1, 1, 1, 1],
        output_padding=[1, 1],
    ),
    case("ConvTranspose", X, Const(real(4, 3, 4, 4)), strides=[2, 2], pads=[1, 0, 0, 2]),
    case("ConvTranspose", X, Const(real(4, 2, 3, 3)), group=2, dilations=[2, 1]),
    case("ConvTranspose", X, Const(real(4, 3, 3, 3)), strides=[2, 2], output_shape=[14, 18]),
    *(
        case("ConvTranspose", X, Const(real(4, 3, 3, 3)), strides=[2, 2], auto_pad=p)
        for p in ("SAME_UPPER", "SAME_LOWER")
    ),
    case("ConvTranspose", real(2, 3, 6), Const(real(3, 2, 4)), strides=[3]),
]

POOLING = [
    *(
        case(op, X, kernel_shape=[3, 3], **options)
        for op in ("MaxPool", "AveragePool")
        for options in (
            {},
            {"strides": [2, 2], "pads": [1, 1, 1, 1]},
            {"strides": [2, 2], "ceil_mode": 1},
            {"strides": [2, 2], "pads": [1, 1, 1, 1], "ceil_mode": 1},
            {"strides": [2, 2], "pads": [0, 1, 2, 0]},
            {"strides": [2, 3], "auto_pad": "SAME_UPPER"},
            {"strides": [2, 3], "auto_pad": "SAME_LOWER"},
            {"auto_pad": "VALID", "strides": [1, 1]},
        )
    ),
    case("MaxPool", X, kernel_shape=[5, 5], pads=[2, 2, 2, 2], strides=[1, 1]),
    case("MaxPool", X, kernel_shape=[2, 3], dilations=[2, 2]),
    case("MaxPool", X, kernel_shape=[2, 2], strides=[2, 2], opset=9),
    case("MaxPool", real(2, 3, 8), kernel_shape=[3], strides=[2]),
    case("MaxPool", real(1, 2, 5, 6, 7), kernel_shape=[2, 2, 2]),
    case("AveragePool", X, kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1),
    case(
        "AveragePool",
        X,
        kernel_shape=[3, 3],
        pads=[0, 1, 2, 1],
        count_include_pad=1,
        strides=[2, 1],
    ),
    case("AveragePool", X, kernel_shape=[2, 2], dilations=[2, 3], opset=19),
    case("AveragePool", X, kernel_shape=[2, 2], strides=[2, 2], opset=9),
    case("AveragePool", real(2, 3, 8), kernel_shape=[3], strides=[2]),
    case("LpPool", X, kernel_shape=[2, 3], p=2),
    case("GlobalAveragePool", X),
    case("GlobalMaxPool", X),
]

NORMALIZATION = [
    case(
        "BatchNormalization",
        X,
        *(Const(real(4, seed=i, low=0.2)) for i in range(4)),
        opset=opset,
        epsilon=1e-3,
    )
    for opset in (9, 14, 15)
] + [
    case("LayerNormalization", X, Const(real(9)), Const(real(9, seed=1))),
    case("LayerNormalization", X, Const(real(9)), axis=3, epsilon=1e-2),
    case("LayerNormalization", X, Const(real(7, 9)), Const(real(7, 9, seed=1)), axis=-2),
    case("InstanceNormalization", X, Const(real(4)), Const(real(4, seed=1))),
    case("GroupNormalization", X, Const(real(4)), Const(real(4, seed=1)), num_groups=2, opset=21),
    case("RMSNormalization", X, Const(real(9)), opset=23),
    case("LpNormalization", X, axis=1, p=2),
    case("LpNormalization", X, p=1),
    case("MeanVarianceNormalization", X),
    case("LRN", X, size=3, alpha=0.3, beta=0.6, bias=1.5),
]

REDUCTION = [
    *(
        case(op, real(2, 3, 4, low=0.1), opset=opset, **options)
        for op in [
            "Mean",
            "Sum",
            "Max",
            "Min",
            "Prod",
            "L1",
            "L2",
            "LogSum",
            "LogSumExp",
            "SumSquare",
        ]
        for op in (f"Reduce{op}",)
        for opset, options in (
            (11, {"axes": [-1, 1]}),
            (11, {"keepdims": 0}),
            (9, {"axes": [2], "keepdims": 0}),
        )
    ),
    *(
        case(op, real(2, 3, 4, low=0.1), ints(-1, 1), opset=18, keepdims=0)
        for op in ("ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2", "ReduceSum")
    ),
    case("ReduceSum", X, ints(2, 3), opset=13),
    case("ReduceSum", X, noop_with_empty_axes=1, opset=13),
    case("ReduceSum", X, opset=13),
    *(case(op, X, axis=1, keepdims=k) for op in ("ArgMax", "ArgMin") for k in (0, 1)),
    case("ArgMax", np.array([[1, 3, 3, 0]], np.float32), axis=1, select_last_index=1),
]

MATMUL = [
    case("MatMul", X, Const(real(9, 5))),
    case("MatMul", X, real(2, 4, 9, 3)),
    case("MatMul", X, Const(real(9))),
    case("Gemm", real(3, 5), Const(real(4, 5)), Const(real(4)), transB=1),
    case("Gemm", real(3, 5), Const(real(5, 4)), Const(real(1, 4)), alpha=0.5, beta=2.0),
    case("Gemm", real(5, 3), Const(real(5, 4)), transA=1),
    case("Gemm", real(3, 5), Const(real(5, 4)), Const(real(4)), opset=9),
    case("Einsum", X, real(2, 4, 9, 5), equation="bchw,bcwk->bchk"),
    case("Einsum", real(4, 4), equation="ii->i"),
]

SHAPE = [
    case("Reshape", X, ints(0, -1)),
    case("Reshape", X, ints(2, 4, 63)),
    case("Reshape", X, ints(0, 0, 3, -1)),
    case("Reshape", X, ints(2, 4, 63), allowzero=1, opset=14),
    *(case("Flatten", X, axis=axis) for axis in (0, 1, 2, -1, 4)),
    case("Transpose", X, perm=[0, 2, 3, 1]),
    case("Transpose", X),
    case("Squeeze", real(2, 1, 3, 1), ints(1, -1)),
    case("Squeeze", real(2, 1, 3, 1), axes=[1], opset=11),
    case("Unsqueeze", X, ints(0, -1)),
    case("Unsqueeze", X, axes=[1, 3], opset=11),
    case("Concat", X, real(2, 3, 7, 9), axis=1),
    case("Concat", X, Const(real(2, 4, 7, 2)), axis=-1),
    case("Split", X, axis=1, split=[1, 3], outputs=2, opset=11),
    case("Split", X, ints(1, 3), axis=1, outputs=2),
    case("Split", X, axis=1, outputs=2),
    case("Split", X, axis=2, num_outputs=3, outputs=3, opset=18),
    case("Slice", X, starts=[1, 2], ends=[3, 2147483647], axes=[1, 3], opset=9),
    case("Slice", X, starts=[0, 1], ends=[1, -1], opset=9),
    case("Slice", X, ints(1, -3), ints(-1, 9223372036854775807), ints(2, 3), ints(2, 1)),
    case("Slice", X, ints(-1), ints(-9223372036854775807), ints(3), ints(-1)),
    case("Slice", X, ints(7, 5), ints(1, -9), ints(3, 2), ints(-2, -3)),
    case("Slice", X, Const([1], np.int32), Const([3], np.int32)),
    case("Expand", real(2, 1, 3), ints(2, 4, 1)),
    case("Expand", real(3), ints(2, 1, 3)),
    case("Tile", real(2, 3), ints(2, 3)),
    case("Shape", X),
    case("Shape", X, start=1, end=-1),
    case("Size", X),
    *(case("DepthToSpace", real(2, 12, 2, 3), blocksize=2, mode=mode) for mode in ("DCR", "CRD")),
    case("SpaceToDepth", real(2, 3, 4, 6), blocksize=2),
]

INDEXING = [
    case("Gather", X, Const(IDS), axis=1),
    case("Gather", X, Const(-1), axis=2),
    case("Gather", X, ints(3), axis=-1),
    case("Gather", X, IDS, axis=1),
    case("Gather", Const(real(5, 3)), IDS),
    case("GatherElements", real(2, 3), np.array([[0, -1], [1, 1]], np.int64), axis=1),
    case("GatherND", real(2, 3, 4), np.array([[[0, 1]], [[1, -1]]], np.int64)),
    case("GatherND", real(2, 3, 4), np.array([[1], [2]], np.int64), batch_dims=1),
    case("ScatterND", real(4, 3), Const([[1], [-1]], np.int64), real(2, 3, seed=1)),
    case(
        "ScatterND",
        real(4, 3),
        Const([[1], [1]], np.int64),
        real(2, 3, seed=1),
        reduction="add",
        opset=16,
    ),
    case("ScatterElements", real(3, 3), Const([[0, 2, 1]], np.int64), real(1, 3, seed=1), axis=0),
    case(
        "ScatterElements",
        real(3, 3),
        Const([[0, -1]], np.int64),
        real(1, 2, seed=1),
        axis=1,
        reduction="add",
    ),
    case("OneHot", np.array([0, 2, -1], np.int64), Const(4), Const([0.0, 2.0])),
    case("OneHot", IDS, Const(3), Const([1.0, 5.0]), axis=1),
    case("TopK", X, ints(3), axis=1, outputs=2),
    case("TopK", X, ints(2), largest=0, outputs=2),
    case("CumSum", X, Const(2)),
    case("CumSum", X, Const(-1, np.int32), exclusive=1, reverse=1),
    *(case("Trilu", real(4, 5), upper=upper) for upper in (0, 1)),
    case("Trilu", real(4, 5), Const(1), upper=1),
    case("EyeLike", real(3, 4), k=1),
    case("Range", Const(1), Const(9), Const(3)),
    case("ConstantOfShape", ints(2, 3)),
    case("Compress", real(3, 4), Const([True, False, True]), axis=0),
]

PADDING = [
    case("Pad", X, ints(0, 0, 1, 2, 0, 0, 3, 0)),
    case("Pad", X, ints(0, 1, 1, 2, 0, 0, -2, 0), Const(1.5)),
    case("Pad", X, pads=[0, 0, 1, 2, 0, 0, 3, 0], value=2.0, opset=9),
    *(case("Pad", X, ints(0, 0, 1, 2, 0, 0, 3, 0), mode=mode) for mode in ("reflect", "edge")),
    case("Pad", X, ints(0, 1, 1, 2, 0, 0, 3, 0), mode="reflect"),
    case("Pad", X, ints(0, 1, 0, 2, 0, 2, 3, 0), mode="edge"),
    case("Pad", X, ints(1, 0, 2, 1), None, ints(2, 3), opset=18),
    case("Pad", X, ints(0, 0, 1, 2, 0, 0, 3, 0), mode="wrap", opset=19),
]

TOKENS = real(2, 5, 12)
ATTENTION = [
    case(
        "Attention", real(2, 3, 5, 4), real(2, 3, 6, 4, seed=1), real(2, 3, 6, 4, seed=2), opset=23
    ),
    case(
        "Attention",
        real(2, 4, 5, 4),
        real(2, 2, 5, 4, seed=1),
        real(2, 2, 5, 4, seed=2),
        opset=23,
        is_causal=1,
    ),
    case("Attention", TOKENS, TOKENS, TOKENS, opset=23, q_num_heads=3, kv_num_heads=3, scale=0.3),
    case(
        "Attention",
        TOKENS,
        TOKENS,
        TOKENS,
        Const(real(5, 5)),
        opset=23,
        q_num_heads=3,
        kv_num_heads=3,
    ),
]

QUANTIZATION = [
    case(
        "DequantizeLinear",
        Const(np.arange(12).reshape(3, 4), np.int8),
        Const(real(3, low=0.1)),
        axis=0,
    ),
    case(
        "DequantizeLinear",
        np.arange(12, dtype=np.uint8).reshape(3, 4),
        Const(0.1),
        Const(3, np.uint8),
    ),
]


@pytest.mark.parametrize(
    ("op", "inputs", "opset", "options"),
    [
        *ELEMENTWISE,
        *ACTIVATION,
        *CONVOLUTION,
        *POOLING,
        *NORMALIZATION,
        *REDUCTION,
        *MATMUL,
        *SHAPE,
        *INDEXING,
        *PADDING,
        *ATTENTION,
        *QUANTIZATION,
    ],
)
def test_operator(tmp_path, op, inputs, opset, options):
    engine = tuple(map(int, onnxruntime.__version__.split(".")[:2]))
    if engine < (1, 24) and (opset > 22 or "noop_with_empty_axes" in options):
        pytest.skip(
            "the reference is ONNX Runtime, which has these operators, and these options, right since 1.24"
        )
    check_node(tmp_path, op, inputs, opset, **options)


RESIZES = [
    (mode, coordinates, rounding, size, {})
    for mode in ("nearest", "linear", "cubic")
    for coordinates in ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric")
    for rounding in (("round_prefer_floor", "round_prefer_ceil", "floor", "ceil") if mode == "nearest" else ("",))
    for size in ((14, 18), (5, 13), (3, 4))
] + [
    (mode, "half_pixel", "", (4, 5), {"antialias": 1}) for mode in ("linear", "cubic")
] + [("cubic", "half_pixel", "", (10, 7), {"exclude_outside": 1, "cubic_coeff_a": -0.5})]  # fmt: skip


@pytest.mark.parametrize(("mode", "coordinates", "rounding", "size", "more"), RESIZES)
def test_resize_to_size(tmp_path, mode, coordinates, rounding, size, more):
    options = {"mode": mode, "coordinate_transformation_mode": coordinates, **more}
    if rounding:
        options["nearest_mode"] = rounding
    inputs = (X[:, :2], None, None, ints(2, 2, *size))
    check_node(tmp_path, "Resize", inputs, 18, rtol=1e-4 if mode == "cubic" else 2e-5, **options)


FORMS = ("upsample-9", "upsample-7", "resize-10", "resize-11", "resize-axes", "resize-13")


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("form", "scales"),
    # Upsample does not shrink
    [
        (f, s)
        for f in FORMS
        for s in ((2.0, 2.0), (1.5, 0.6), (3.0, 1.0))
        if min(s) >= 1 or "upsample" not in f
    ],
)
def test_resize_by_scales(tmp_path, scales, mode, form):
    x, whole = X[:, :2].copy(), Const([1.0, 1.0, *scales])
    if form == "upsample-7":
        check_node(tmp_path, "Upsample", (x,), 7, scales=[1.0, 1.0, *scales], mode=mode)
    elif form == "upsample-9":
        check_node(tmp_path, "Upsample", (x, whole), 9, mode=mode)
    elif form == "resize-10":
        check_node(tmp_path, "Resize", (x, whole), 10, mode=mode)
    elif form == "resize-11":
        check_node(tmp_path, "Resize", (x, Const(np.zeros(0, np.float32)), whole), 11, mode=mode)
    elif form == "resize-axes":
        check_node(tmp_path, "Resize", (x, None, Const(scales)), 18, mode=mode, axes=[2, 3])
    else:
        options = {"coordinate_transformation_mode": "asymmetric"}
        check_node(tmp_path, "Resize", (x, None, whole), 13, mode=mode, **options)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_resize_keeps_the_aspect_ratio(tmp_path, policy):
    inputs = (X, None, None, ints(10, 12))
    check_node(
        tmp_path, "Resize", inputs, 18, axes=[2, 3], keep_aspect_ratio_policy=policy, mode="linear"
    )
