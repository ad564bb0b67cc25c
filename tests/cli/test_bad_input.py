"""Bad input is one line that says what was wrong and what would be right, exit status 2,
and no file."""

import os
import pickle
import stat
import struct
import zlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import helper

import camport as library

pytestmark = [
    pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning"),
    pytest.mark.filterwarnings("ignore::camport.errors.GuardWarning"),
]

DIGITS = ("-m", "demo:gap-pool", "-o", "out.png")
RESNET = ("-m", "torchvision:resnet18", "-o", "out.png", "--weights")


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        (r"unknown method 'grad-cam'; did you mean 'gradcam'", ("--method", "grad-cam")),
        (
            r"unknown method 'zzz'; there is: ablationcam, attention_rollout, cam, ",
            ("--method", "zzz"),
        ),
        (r"no layer 'feature' in PoolingCAMNet; nearest: features", ("--layer", "feature")),
        (r"layer 'features@x': what follows '@' is the number of a run", ("--layer", "features@x")),
        (r"ran 1 times in the forward pass; run 3 does not exist", ("--layer", "features@3")),
        (r"layer 'avgpool' puts out .* no map|cam|layer", ("--layer", "fc")),
        (
            r"unknown adapter 'clasification'; did you mean 'classification'",
            ("--adapter", "clasification"),
        ),
        (r"class 10 is out of range: the model has 10 classes \(0..9\)", ("--target", "10")),
        (r"target -2 is out of range", ("--target=-2",)),
        (r"class|target", ("--target", "99999999999999999999999")),
        (r"unknown label 'sevn'; did you mean 'seven'", ("--target", "sevn")),
        (r"unknown label 'tabby'; there is: ", ("--target", "tabby")),
        (r"unknown colormap 'turb'; did you mean 'turbo'", ("--colormap", "turb")),
        (r"(?i)alpha.*1", ("--alpha", "1.5")),
        (r"preprocess is not JSON", ("--preprocess", "{size")),
        (r"preprocess is a JSON list; it must be an object", ("--preprocess", "[1]")),
        (
            r"unknown preprocess key 'sise'; did you mean 'size'",
            ("--preprocess", '{"sise": [1, 1]}'),
        ),
        (r"size is '64'; it must be a list of 2 integers", ("--preprocess", '{"size": "64"}')),
        (r"both sides must be at least 1", ("--preprocess", '{"size": [0, 64]}')),
        (r"at most \d+", ("--preprocess", '{"size": [100000, 100000]}')),
        (r"std is .*above 0", ("--preprocess", '{"std": [0, 1, 1]}')),
        (r"labels none.txt does not exist", ("--labels", "none.txt")),
        (r"No such option.*--metod", ("--metod", "cam")),
    ],
)
def test_options_of_explain(refused, photo, match, arguments):
    refused(match, "explain", photo, *DIGITS, *arguments)


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        (r"unknown view 'color'; did you mean 'colour'", ("--view", "color")),
        (
            r"view 'grey' draws the gradient of the image; gradcam gives none, but saliency",
            ("--view", "grey"),
        ),
        (
            r"view 'grey' .*this method gives none, but saliency",
            ("--view", "grey", "--method", "fullgrad"),
        ),
        (
            r"view 'grid' draws a layer's feature maps, and rise reads none",
            ("--view", "grid", "--method", "rise"),
        ),
        (
            r"view 'grid' is a figure of its own.*is given with others",
            ("--view", "grid", "--view", "map"),
        ),
        (
            r"view 'grid' is a figure of its own.*has 1 images and 2 layers",
            ("--view", "grid", "--layer", "features", "--layer", "features.0"),
        ),
        (
            r"--layer all: a picture of every layer, one by one, is made by --sweep",
            ("--layer", "all"),
        ),
        (
            r"--sweep draws overlays of one image; given are 1 and 1 views",
            ("--sweep", "--view", "map"),
        ),
        (r"saliency has no target layer to sweep over", ("--sweep", "--method", "saliency")),
        (
            r"no layer with maps over the image is like 'x\*'; there is: features",
            ("--sweep", "--layer", "x*"),
        ),
        (
            r"no layer 'feature' in PoolingCAMNet; nearest: features",
            ("--sweep", "--layer", "feature"),
        ),
    ],
)
def test_views_and_sweeps(refused, photo, match, arguments):
    refused(match, "explain", photo, *DIGITS, *arguments)


def test_what_is_drawn_is_for_pictures(refused, photo):
    refused(
        r"--view is for pictures \(.png, .jpg\), and out.npz is written with numbers",
        *(
            "explain",
            photo,
            "-m",
            "demo:gap-pool",
            "--method",
            "saliency",
            "--view",
            "grey",
            "-o",
            "out.npz",
        ),
    )
    refused(
        r"--sweep draws overlays of one image; given are 2",
        *("explain", photo, photo, "-m", "demo:gap-pool", "--sweep", "-o", "out.png"),
    )


@pytest.mark.parametrize(
    ("match", "spec"),
    [
        (r"'digits' is no SPEC; it is one of torchvision:NAME, timm:NAME", "digits"),
        (r"'demo:' is no SPEC", "demo:"),
        (r"unknown model family 'torchvison'; did you mean 'torchvision'", "torchvison:resnet18"),
        (r"unknown torchvision model 'resnet19'; did you mean 'resnet1", "torchvision:resnet19"),
        (r"unknown timm model 'resnet18x'; did you mean 'resnet18", "timm:resnet18x"),
        (r"unknown demo network 'digit'; did you mean 'digits'", "demo:digit"),
        (
            r"module 'no_such.thing' cannot be imported.*run camport where it lies",
            "no_such.thing:make",
        ),
        (r"unknown name in os.path 'joinn'; did you mean 'join'", "os.path:joinn"),
    ],
)
def test_models(refused, photo, match, spec):
    refused(match, "explain", photo, "-m", spec, "-o", "out.png")
    refused(match, "export", "-m", spec, "-o", "out.onnx")
    refused(match, "layers", "-m", spec)


def png(width, height):
    """A PNG whose header claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.fixture(params=["missing", "folder", "text", "empty", "truncated", "huge"])
def bad_image(request, tmp_path, photo):
    file = tmp_path / f"{request.param}.png"
    if request.param == "folder":
        file.mkdir()
    elif request.param != "missing":
        contents = {
            "text": b"hello",
            "empty": b"",
            "truncated": photo.read_bytes()[:900],
            "huge": png(100_000, 100_000),
        }
        file.write_bytes(contents[request.param])
    match = {
        "missing": "missing.png does not exist",
        "folder": "folder.png holds no image files",
        "text": "text.png .*image",
        "empty": "empty.png is empty",
        "truncated": "truncated.png .*(truncated|corrupt)",
        "huge": r"huge.png is .*100000x100000|huge.png .*large",
    }
    return file, match[request.param]


def test_images(refused, bad_image, photo, exported):
    file, match = bad_image
    # explain takes folders of images
    refused("holds no image files" if file.is_dir() else match, "explain", photo, file, *DIGITS)
    refused(match, "run", exported, photo, file, "-o", "out.png")


@pytest.fixture
def readonly(tmp_path):
    folder = tmp_path / "readonly"
    folder.mkdir()
    folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    yield folder
    folder.chmod(stat.S_IRWXU)


@pytest.mark.parametrize(
    ("out", "match"),
    [
        ("out.bmp", r"out.bmp ends in '.bmp'; what can be written is .png"),
        ("out", r"out has no suffix; what can be written is"),
        ("no/out", r"what can be written|does not exist"),
        ("no/such/out{}", r"no/such does not exist; make the directory first"),
        ("photo.png/out{}", r"photo.png is a file, not a directory"),
        (".", r"is a directory; name a file in it"),
        ("a" * 300 + "{}", r"File name too long"),
    ],
)
def test_outputs(refused, photo, exported, out, match):
    refused(match, "explain", photo, "-m", "demo:gap-pool", "-o", out.format(".png"))
    refused(match, "run", exported, photo, "-o", out.format(".npz"))
    if out != "out.bmp":
        refused(match, "export", "-m", "demo:gap-pool", "-o", out.format(".onnx"))


def test_a_directory_that_cannot_be_written(refused, photo, exported, readonly, monkeypatch):
    if os.access(readonly, os.W_OK):  # root may write everywhere: say what others would be told
        monkeypatch.setattr(
            "os.access", lambda place, mode: Path(place) != readonly and Path(place).exists()
        )
    match = "cannot be written: no permission to write"
    refused(match, "explain", photo, "-m", "demo:gap-pool", "-o", readonly / "out.png")
    refused(match, "run", exported, photo, "-o", readonly / "out.png")
    refused(match, "export", "-m", "demo:gap-pool", "-o", readonly / "out.onnx")


def test_a_full_disk_leaves_nothing(refused, photo, exported, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    for command in (("explain", photo, *DIGITS), ("run", exported, photo, "-o", "out.npz")):
        refused("cannot be written: No space left on device", *command)


class Payload:
    def __reduce__(self):
        return os.mkdir, ("pwned",)


def test_weights(refused, photo, tmp_path):
    def weights(match, name, write):
        write(tmp_path / name)
        refused(match, "explain", photo, *RESNET, name)

    refused("weights none.pt do not exist; name a file", "explain", photo, *RESNET, "none.pt")
    weights("weights folder are a directory; name a file", "folder", Path.mkdir)
    weights(
        "weights torn.pt cannot be read", "torn.pt", lambda f: f.write_bytes(b"PK\x03\x04 torn")
    )
    weights("weights empty.pt cannot be read", "empty.pt", lambda f: f.write_bytes(b""))
    weights(
        "weights text.safetensors cannot be read",
        "text.safetensors",
        lambda f: f.write_text("hello, tensors"),
    )
    weights(
        "weights model.pt cannot be read: it holds Python objects.*save model.state_dict",
        "model.pt",
        whole_model,
    )
    weights("weights evil.pt cannot be read", "evil.pt", lambda f: torch.save(Payload(), f))
    weights(
        "weights evil2.pt cannot be read",
        "evil2.pt",
        lambda f: f.write_bytes(pickle.dumps(Payload())),
    )
    assert not (tmp_path / "pwned").exists()
    weights(
        "weights list.pt hold list, not a state dict",
        "list.pt",
        lambda f: torch.save([torch.ones(2)], f),
    )
    weights("weights {}.pt hold dict, not a state dict", "{}.pt", lambda f: torch.save({}, f))
    weights(
        "weights other.pt do not fit ResNet: missing: bn1.bias.* and .* more; not in the model:"
        " a.weight",
        "other.pt",
        lambda f: torch.save({"a.weight": torch.ones(2)}, f),
    )


def whole_model(file):
    torch.save(torch.nn.Linear(2, 2), file)


def test_weights_of_another_shape(refused, photo, tmp_path):
    from camport.demo.networks import load

    state = load("gap-pool").state_dict()
    state["features.0.weight"] = torch.ones(32, 3, 7, 7)
    torch.save(state, tmp_path / "w.pt")
    match = (
        r"do not fit PoolingCAMNet: features.0.weight is \(32, 3, 7, 7\), the model's is \(32, 3,"
        r" 5, 5\)"
    )
    refused(match, "explain", photo, *DIGITS, "--weights", "w.pt")


@pytest.mark.parametrize(
    ("size", "match"),
    [
        ("64", "size '64' is not HEIGHTxWIDTH, e.g. 224x224"),
        ("axb", "size 'axb' is not HEIGHTxWIDTH"),
        ("0x5", "size '0x5': both sides must be at least 1"),
        ("-4x5", "both sides must be at least 1"),
        ("100000x100000", "size '100000x100000' is 10000000000 pixels; at most"),
        ("1x1", r"PoolingCAMNet could not be run on images \(\d, 3, 1, 1\)"),
    ],
)
def test_sizes(refused, size, match):
    refused(match, "export", "-m", "demo:gap-pool", "-o", "out.onnx", "--size", size)
    refused(match, "layers", "-m", "demo:gap-pool", "--size", size)


def test_export(refused):
    export = ("export", "-m", "demo:gap-pool", "-o")
    refused(r"out.pth ends in '.pth'; what can be written is .onnx", *export, "out.pth")
    refused(
        r"unknown method 'grad-cam'; did you mean 'gradcam'",
        *export,
        "out.onnx",
        "--method",
        "grad-cam",
    )
    refused(r"no layer 'features.77'", *export, "out.onnx", "--layer", "features.77")
    refused(
        r"cam needs global average pooling",
        *export,
        "out.onnx",
        "--method",
        "cam",
        "--layer",
        "features.3",
    )


def test_a_model_that_cannot_be_traced(refused, tmp_path):
    (tmp_path / "branching.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.features, self.fc = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)\n"
        "    def forward(self, x):\n"
        "        x = self.features(x).mean((2, 3))\n"
        "        return self.fc(x) if x.mean() > 0 else self.fc(-x)\n"
    )
    refused(
        "cannot be traced: .* without branches on values",
        "export",
        "-m",
        "branching:Net",
        "-o",
        "x.onnx",
        "--size",
        "9x9",
    )


@pytest.mark.parametrize(
    ("match", "arguments"),
    [
        (r"class 10 is out of range|target.* 10", ("--target", "10")),
        (r"-2", ("--target=-2",)),
        (r"target", ("--target", "99999999999999999999999")),
        (r"unknown label 'sevn'; did you mean 'seven'", ("--target", "sevn")),
        (r"unknown colormap 'turb'", ("--colormap", "turb")),
        (r"unknown .*provider 'cudda'", ("--provider", "cudda")),
    ],
)
def test_options_of_run(refused, exported, photo, match, arguments):
    refused(match, "run", exported, photo, "-o", "out.png", *arguments)


def test_a_report_is_among_what_explain_writes(refused, photo, exported):
    start = ("explain", photo, "-m", "demo:gap-pool", "-o", "out.bmp")
    refused(r"what can be written is .*\.npz, \.html$", *start)
    refused(r"what can be written is .*\.npz$", "run", exported, photo, "-o", "out.bmp")


def test_a_picture_where_the_file_stands(refused, photo, exported):
    for rest in ((photo,), (exported,)):
        refused(
            r"photo\.png is a picture; the file comes first: camport run FILE\.onnx .*photo\.png$",
            *("run", photo, *rest, "-o", "out.png"),
        )


def test_files_that_are_no_explainer(refused, photo, tmp_path, exported):
    def file(match, name, contents):
        (tmp_path / name).write_bytes(contents)
        refused(match, "run", name, photo, "-o", "out.png")

    refused("none.onnx does not exist", "run", "none.onnx", photo, "-o", "out.png")
    refused("is a directory", "run", tmp_path, photo, "-o", "out.png")
    file("empty.onnx is empty; export it again", "empty.onnx", b"")
    file("text.onnx .*corrupt, truncated or not ONNX", "text.onnx", b"hello")
    file("torn.onnx .*corrupt, truncated", "torn.onnx", exported.read_bytes()[:5000])
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "plain",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["b"])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["b"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    file("plain.onnx is an ONNX graph but no camport explainer.*make one with camport export", "plain.onnx",
         model.SerializeToString())  # fmt: skip


def test_a_size_the_exported_graph_does_not_take(refused, photo, exported, tmp_path):
    model = onnx.load(exported)
    for entry in model.metadata_props:
        if entry.key == "camport.preprocess":
            entry.value = '{"size": [32, 48], "scale": 0.01}'
    onnx.save(model, tmp_path / "resized.onnx")
    refused(
        r"images is .*32.*48.*the graph takes .*64.*64",
        "run",
        "resized.onnx",
        photo,
        "-o",
        "out.png",
    )


def test_commands(refused):
    refused("No such command 'explan'", "explan")
    refused("Missing argument 'IMAGE", "explain", *DIGITS)
    refused("Missing option '--output'", "export", "-m", "demo:gap-pool")


def test_a_demo_folder_that_cannot_be(refused, photo):
    refused("photo.png is a file; name a folder", "demo", "-o", photo)
    refused("no does not exist; make it first", "demo", "-o", "no/such")


def test_an_image_of_nonsense_is_still_explained(camport, tmp_path):
    """One pixel is an image."""
    from PIL import Image

    Image.fromarray(np.zeros((1, 1, 3), np.uint8)).save(tmp_path / "dot.png")
    assert camport("explain", "dot.png", *DIGITS).status == 0
    assert library.methods()
