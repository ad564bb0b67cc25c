"""Networks of one and of many channels on the command line: explain, layers, export, run."""

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn

import camport as library
from camport.models import load_model
from camport.models.onnx import load_onnx
from camport.runtime import load
from tests.nets import seeded

CODE = """
import torch
from torch import nn
from tests.nets import seeded
def net(channels):
    return seeded(nn.Sequential(nn.Conv2d(channels, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 5, 3, 1, 1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 4)), dtype=torch.float32)
def one(): return net(1)
def five(): return net(5)
"""


def net(channels: int) -> nn.Module:
    space: dict = {}
    exec(CODE, space)
    return space["net"](channels)


@pytest.fixture
def grey(tmp_path, photo):
    """The picture as the network takes it, and as Pillow makes it grey."""
    (tmp_path / "channel_nets.py").write_text(CODE)
    with Image.open(photo) as picture:
        return torch.from_numpy(np.asarray(picture.convert("L"), np.float32) / 255)[None, None]


@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")
def test_one_channel_from_picture_to_edge(camport, photo, grey, tmp_path):
    """The same map in PyTorch, on the command line, and from the file that was exported."""
    wanted = library.explain(net(1), grey, "hirescam", 2, layer="2")
    common = ("-m", "channel_nets:one", "--layer", "2", "--method", "hirescam")
    done = camport("explain", photo, *common, "--target", 2, "-o", "o.npz")
    assert (done.status, done.err) == (0, "")
    np.testing.assert_allclose(
        np.load(tmp_path / "o.npz")["raw"], wanted.raw.numpy(), rtol=1e-4, atol=1e-6
    )
    done = camport("layers", "-m", "channel_nets:one", "--size", "32x32")
    assert "1x6x16x16" in done.out, done.err
    done = camport("export", *common, "--size", "72x96", "-o", "f.onnx")
    assert done.status == 0, done.err
    assert load(tmp_path / "f.onnx").preprocess.channels == 1
    assert camport("run", "f.onnx", photo, "--target", 2, "-o", "r.npz").status == 0
    np.testing.assert_allclose(
        np.load(tmp_path / "r.npz")["heatmap"], wanted.heatmap.numpy(), atol=1e-4
    )
    assert camport("run", "f.onnx", photo, "-o", "r.png").status == 0


@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")
def test_five_channels_from_an_array(camport, photo, grey, refused, tmp_path):
    bands = np.random.default_rng(0).normal(size=(5, 40, 56)).astype(np.float32)
    np.save(tmp_path / "bands.npy", bands)
    np.savez(tmp_path / "bands.npz", image=bands)
    wanted = library.explain(net(5), torch.from_numpy(bands)[None], "hirescam", 2, layer="2")
    common = ("-m", "channel_nets:five", "--layer", "2", "--method", "hirescam")
    for name in ("bands.npy", "bands.npz"):
        done = camport("explain", name, *common, "--target", 2, "-o", "o.npz")
        assert (done.status, done.err) == (0, "")
        np.testing.assert_allclose(
            np.load(tmp_path / "o.npz")["raw"], wanted.raw.numpy(), rtol=1e-4, atol=1e-6
        )
    assert camport("explain", "bands.npy", *common, "-o", "o.png").status == 0
    done = camport("export", *common, "--size", "40x56", "-o", "f.onnx")
    assert done.status == 0, done.err
    assert camport("run", "f.onnx", "bands.npy", "--target", 2, "-o", "r.npz").status == 0
    np.testing.assert_allclose(
        np.load(tmp_path / "r.npz")["heatmap"], wanted.heatmap.numpy(), atol=1e-4
    )
    no_picture = (
        r"takes 5 channels, which a picture does not have; give an array \[5,H,W\], a .npy file"
    )
    refused(no_picture, "explain", photo, *common, "-o", "new.png")
    refused(no_picture, "run", "f.onnx", photo, "-o", "new.png")
    refused(
        "network takes 3 channels", "explain", "bands.npy", "-m", "demo:digits", "-o", "new.png"
    )


def test_preprocess_has_one_value_a_channel(camport, photo, grey, refused, tmp_path):
    """Without mean and std it is of as many channels as the network."""
    common = ("explain", photo, "-m", "channel_nets:one", "--layer", "2", "--target", 2)
    wanted = library.explain(net(1), (grey - 0.5) / 0.25, "gradcam", 2, layer="2")
    done = camport(*common, "--preprocess", '{"mean": [0.5], "std": [0.25]}', "-o", "o.npz")
    assert done.status == 0, done.err
    np.testing.assert_allclose(
        np.load(tmp_path / "o.npz")["score"], wanted.score.numpy(), rtol=1e-5
    )
    assert camport(*common, "--preprocess", '{"size": [72, 96]}', "-o", "o.npz").status == 0
    plain = library.explain(net(1), grey, "gradcam", 2, layer="2")
    np.testing.assert_allclose(np.load(tmp_path / "o.npz")["score"], plain.score.numpy(), rtol=1e-5)
    means = '{"mean": [0.5, 0.4], "std": [1, 2, 1]}'
    refused(
        "mean has 2 values and std 3; one a channel",
        *common,
        "--preprocess",
        means,
        "-o",
        "new.png",
    )


def of_sizes(path, sizes, nodes, channels, weights=None):
    """A file of these nodes from `images` to `x` [b,c,H,W], and a classifier behind."""
    weights = np.random.default_rng(0).normal(size=(6, channels, 3, 3)).astype(np.float32)
    head = [
        helper.make_node("Conv", ["x", "w"], ["maps"], name="conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["positive"], name="relu"),
        helper.make_node("GlobalAveragePool", ["positive"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["scores"]),
    ]
    stored = [
        numpy_helper.from_array(weights, "w"),
        numpy_helper.from_array(np.float32(0.5), "half"),
    ]
    stored.append(numpy_helper.from_array(np.int64([-1, 1, 24, 40]), "shape"))
    graph = helper.make_graph(
        [*nodes, *head],
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["b", 6])],
        stored,
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path


TURN = [helper.make_node("Transpose", ["images"], ["x"], perm=[0, 3, 1, 2])]
SHAPE = [
    helper.make_node("Sub", ["images", "half"], ["s"]),
    helper.make_node("Reshape", ["s", "shape"], ["x"]),
]
STAY = [helper.make_node("Sub", ["images", "half"], ["x"])]


@pytest.mark.parametrize(
    ("sizes", "nodes", "channels", "size", "shift"),
    [
        (["b", 24, 40, 1], TURN, 1, (24, 40), 0),  # turned
        # with one channel, turned by a change of shape
        (["b", 24, 40, 1], SHAPE, 1, (24, 40), 0.5),
        (["b", "h", "w", 5], TURN, 5, None, 0),
        (["b", 8, 8, 4], TURN, 4, (8, 8), 0),
        (["b", 40, 24, 1], STAY, 40, (24, 1), 0.5),  # a signal of 40 channels
        (["b", 16, 20, 3], STAY, 16, (20, 3), 0.5),  # a narrow map of 16
        (["b", 1, 24, 40], STAY, 1, (24, 40), 0.5),
        (["b", "c", "h", "w"], STAY, 2, None, 0.5),
    ],
)  # fmt: skip
def test_where_a_file_has_its_channels(tmp_path, sizes, nodes, channels, size, shift):
    loaded = load_onnx(of_sizes(tmp_path / "f.onnx", sizes, nodes, channels))
    assert (loaded.preprocess.channels, loaded.preprocess.size) == (channels, size)
    x = torch.from_numpy(
        np.random.default_rng(1).normal(size=(2, channels, *(size or (9, 11)))).astype(np.float32)
    )
    weights = dict(loaded.model.named_parameters())["conv.weight"]
    wanted = torch.nn.functional.conv2d(x - shift, weights, padding=1).relu().mean((2, 3))
    torch.testing.assert_close(loaded.model(x), wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("sizes", "network"), [(["b", 1, 64, "w"], (64, 85)), (["b", 1, "h", 48], (36, 48))]
)
def test_the_side_that_a_file_names(camport, photo, refused, tmp_path, sizes, network):
    """The picture, 72 x 96, is brought to it in its own shape."""
    path = of_sizes(tmp_path / "f.onnx", sizes, STAY, 1)
    loaded = load_model(str(path))
    with Image.open(photo) as picture:
        pixels, placement = loaded.preprocess.apply(picture)
    assert pixels.shape == (1, *network)
    assert placement.to_image(np.zeros(network, np.float32)).shape == (72, 96)
    command = (
        "explain",
        photo,
        "-m",
        path,
        "--layer",
        "relu",
        "--target",
        1,
        "--method",
        "eigencam",
        "-o",
        "o.npz",
    )
    done = camport(*command)
    assert done.status == 0, done.err
    assert np.load(tmp_path / "o.npz")["heatmap"].shape == (1, *network)
    assert camport("layers", "-m", path, "--size", f"{network[0]}x{network[1]}").status == 0
    done = camport("layers", "-m", path)
    assert "names one side of its images alone" in done.err


def test_a_size_that_does_not_fit_is_offered_another(camport, photo, tmp_path):
    """Halved twice and doubled again, 72 x 90 is not what it was."""
    nodes = [
        helper.make_node("AveragePool", ["images"], ["half"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("AveragePool", ["half"], ["quarter"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Resize", ["quarter", "", "twice"], ["back"], mode="nearest"),
        helper.make_node("Add", ["half", "back"], ["sum"]),
        helper.make_node("GlobalAveragePool", ["sum"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["scores"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["b", 3, "h", "w"])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["b", 3])],
        [numpy_helper.from_array(np.float32([1, 1, 2, 2]), "twice")],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8),
        tmp_path / "f.onnx",
    )
    with Image.open(photo) as picture:
        picture.resize((90, 72)).save(photo)
    done = camport(
        "explain", photo, "-m", "f.onnx", "--method", "eigencam", "--layer", "sum", "-o", "o.png"
    )
    assert (done.status, done.out.count("wrote")) == (2, 0)
    assert (
        '72x90 may be none that it takes; multiples of 32 mostly are: --preprocess \'{"size": [64,'
        " 96]}'" in done.err
    )
    options = ("--preprocess", '{"size": [64, 96]}', "-o", "o.png")
    assert (
        camport(
            "explain", photo, "-m", "f.onnx", "--method", "eigencam", "--layer", "sum", *options
        ).status
        == 0
    )


def test_an_array_that_is_no_image(refused, tmp_path):
    np.save(tmp_path / "line.npy", np.zeros(5))
    np.savez(tmp_path / "two.npz", a=np.zeros((3, 8, 8)), b=np.zeros((3, 8, 8)))
    np.save(tmp_path / "nan.npy", np.full((3, 8, 8), np.nan))
    (tmp_path / "text.npy").write_text("no array")
    for name, match in (
        ("line.npy", r"the array is float64 \[5\]; an image is \[c,H,W\] of numbers"),
        ("two.npz", r"holds 2 arrays \(a, b\); save one"),
        ("nan.npy", "has 192 values that are not finite"),
        ("text.npy", "cannot be read as an array"),
    ):
        refused(match, "explain", name, "-m", "demo:digits", "-o", "new.png")


def test_letterbox_and_bytes_of_arrays():
    """uint8 is scaled as pixels are, floats are taken as they are,
    and both are padded with the same grey."""
    from camport.runtime import Preprocess

    spec = Preprocess(size=(8, 8), fit="letterbox", mean=(0.0,) * 2, std=(1.0,) * 2)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 8), dtype=np.uint8)
    whole, placement = spec.apply(pixels)
    exact, _ = spec.apply(pixels.astype(np.float32) / 255)
    assert placement.origin == (2, 0)
    np.testing.assert_allclose(whole, exact, atol=1e-6)
    np.testing.assert_allclose(whole[:, 2:6], pixels / np.float32(255), atol=1e-6)
    np.testing.assert_allclose(whole[:, :2], 114 / 255, atol=1e-6)


def test_the_file_makes_grey_itself(tmp_path):
    """With the preprocessing inside, a one-channel file takes bytes [b,h,w,1]."""
    from camport.export import to_onnx

    x = torch.rand(2, 1, 24, 32, generator=torch.Generator().manual_seed(0))
    bound = library.bind(
        seeded(net(1), dtype=torch.float32), "hirescam", "2", preprocess={"size": [24, 32]}
    )
    to_onnx(bound, tmp_path / "f.onnx", x, preprocess=True)
    explainer = load(tmp_path / "f.onnx")
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50), dtype=np.uint8))
    pixels, _ = explainer.preprocess.apply(picture)
    assert (pixels.shape, pixels.dtype) == ((30, 50, 1), np.uint8)
    resized = np.asarray(
        picture.resize((32, 30), Image.Resampling.BILINEAR).resize(
            (32, 24), Image.Resampling.BILINEAR
        )
    )
    wanted = bound(torch.from_numpy(np.float32(resized) / 255)[None, None], 1)
    np.testing.assert_allclose(
        explainer(pixels[None], target=1).score, wanted.score.numpy(), rtol=1e-2, atol=1e-3
    )
