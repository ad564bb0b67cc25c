"""Every command does what it says."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from PIL import Image

import camport as library
from camport.runtime import load
from tests.marks import mostly_rare, rare

pytestmark = [
    pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning"),
    pytest.mark.filterwarnings("ignore::camport.errors.GuardWarning"),
]

RESNET = ("-m", "torchvision:resnet18", "--weights")


def test_explain_writes_a_picture(camport, photo, tmp_path):
    done = camport("explain", photo, "--model", "demo:digits", "--target", "seven", "-o", "out.png")
    assert (done.status, done.err) == (0, "")
    assert re.search(
        r"photo.png: seven \(7\), score -?\d+\.\d\d, layer layer3\nwrote out.png\n$", done.out
    )
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.format == "PNG"
        assert picture.width > 2 * 96
    assert done.out.startswith("explaining 1 image with demo:digits ...\n")


@pytest.mark.parametrize("suffix", [".jpg", ".npy", ".npz"])
def test_explain_writes_what_the_suffix_says(camport, photo, tmp_path, suffix):
    done = camport("explain", photo, "-m", "demo:gap-pool", "-o", f"out{suffix}")
    assert done.status == 0, done.err
    if suffix == ".jpg":
        with Image.open(tmp_path / "out.jpg") as picture:
            assert picture.format == "JPEG"
    elif suffix == ".npy":
        assert np.load(tmp_path / "out.npy").shape == (1, 64, 64)
    else:
        found = np.load(tmp_path / "out.npz")
        assert {"heatmap", "raw", "score", "target", "feature_maps", "gradients"} <= set(found)
        assert found["heatmap"].dtype == np.float32
        assert 0 <= found["heatmap"].min() <= found["heatmap"].max() <= 1


def test_explain_takes_several_images_and_replaces_a_file(camport, photo, tmp_path):
    shutil.copy(photo, tmp_path / "second.png")
    (tmp_path / "out.npz").write_text("old")
    done = camport(
        "explain", photo, "second.png", "-m", "demo:gap-pool", "--target", 3, "-o", "out.npz"
    )
    assert done.status == 0, done.err
    assert np.load(tmp_path / "out.npz")["target"].tolist() == [3, 3]
    assert done.out.count("three (3), score") == 2


QUICK = set(library.methods()) - {"drise", "iscam", "rise", "sscam", "xrai"}


@pytest.mark.parametrize("method", mostly_rare(sorted(library.methods()), QUICK))
def test_explain_by_every_method(camport, photo, tmp_path, method):
    tokens = library.methods()[method].family == "attention"
    model = ("timm:test_vit", "--weights", "none") if tokens else ("demo:gap-pool",)
    done = camport("explain", photo, "-m", *model, "--method", method, "-o", "out.npy")
    assert done.status == 0, done.err
    assert np.isfinite(np.load(tmp_path / "out.npy")).all()


def test_explain_at_several_layers(camport, photo):
    arguments = [
        "-m",
        "demo:digits",
        "--method",
        "layercam",
        "--layer",
        "layer2",
        "--layer",
        "layer3",
    ]
    done = camport("explain", photo, *arguments, "-o", "out.npz")
    assert done.status == 0, done.err
    assert "layer layer2, layer3" in done.out


def test_views_of_a_gradient_stand_side_by_side(camport, photo, tmp_path):
    widths = []
    for views in (["colour"], ["overlay", "colour", "grey", "positive", "negative", "map"]):
        options = [part for view in views for part in ("--view", view)]
        done = camport(
            "explain",
            photo,
            "-m",
            "demo:digits",
            "--method",
            "guided_backprop",
            *options,
            "-o",
            "out.png",
        )
        assert (done.status, done.err) == (0, "")
        with Image.open(tmp_path / "out.png") as picture:
            widths.append(picture.width)
            middle = np.asarray(picture).astype(int)[picture.height // 2]
        assert (abs(middle - 128).max(1) < 32).sum() > 20  # where nothing is, colour is grey
    assert widths[1] > 3 * widths[0]


@pytest.mark.parametrize(
    "method",
    [
        "saliency",
        "deconvnet",
        "guided_gradcam",
        "smoothgrad",
        "integrated_gradients",
        "guided_backprop",
    ],
)
def test_every_signed_image_is_drawn_and_saved(camport, photo, tmp_path, method):
    arguments = ("explain", photo, "-m", "demo:gap-pool", "--method", method)
    done = camport(*arguments, "--view", "negative", "-o", "out.png")
    assert (done.status, done.err) == (0, "")
    assert camport(*arguments, "-o", "out.npz").status == 0
    gradient = np.load(tmp_path / "out.npz")["gradient"]
    assert gradient.shape == (1, 3, 64, 64)
    assert gradient.min() < 0 < gradient.max()


def test_feature_maps_as_a_grid(camport, photo, tmp_path):
    arguments = (
        "explain",
        photo,
        "-m",
        "demo:digits",
        "--method",
        "feature_maps",
        "--layer",
        "layer2",
        "--view",
    )
    assert camport(*arguments, "map", "-o", "map.png").status == 0
    done = camport(*arguments, "grid", "-o", "grid.png")
    assert (done.status, done.err) == (0, "")
    with Image.open(tmp_path / "map.png") as one, Image.open(tmp_path / "grid.png") as many:
        assert many.height > 2 * one.height


def test_a_sweep_is_one_picture_of_all_layers(camport, photo, tmp_path):
    arguments = ("explain", photo, "-m", "demo:digits", "--target", "seven", "--sweep")
    done = camport(*arguments, "-o", "out.png")
    assert (done.status, done.err) == (0, "")
    assert re.search(
        r"photo.png: seven \(7\), score -?\d+\.\d\d, 25 layers from conv1 to layer3\n", done.out
    )
    with Image.open(tmp_path / "out.png") as picture:
        assert picture.width > 6 * 176
    assert camport(*arguments, "--layer", "layer?", "--layer", "conv1", "-o", "out.npz").status == 0
    found = np.load(tmp_path / "out.npz")
    assert list(found) == ["conv1", "layer1", "layer2", "layer3"]
    assert (
        camport(
            "explain",
            photo,
            "-m",
            "demo:digits",
            "--target",
            7,
            "--layer",
            "layer2",
            "-o",
            "one.npy",
        ).status
        == 0
    )
    assert np.array_equal(found["layer2"], np.load(tmp_path / "one.npy")[0])
    assert camport(*arguments, "--layer", "layer?", "-o", "out.npy").status == 0
    assert np.load(tmp_path / "out.npy").shape == (3, *found["layer2"].shape)


def test_explain_by_labels_and_preprocessing_of_ones_own(camport, photo, tmp_path):
    (tmp_path / "names.txt").write_text("\n".join("abcdefghij"))
    done = camport(
        *(
            "explain",
            photo,
            "-m",
            "demo:gap-pool",
            "--labels",
            "names.txt",
            "--target",
            "d",
            "-o",
            "out.npy",
        ),
        *("--preprocess", json.dumps({"size": [40, 56], "mean": [0.5, 0.5, 0.5]})),
    )
    assert done.status == 0, done.err
    assert "d (3), score" in done.out
    assert np.load(tmp_path / "out.npy").shape == (1, 40, 56)


def test_export_then_run_agrees_with_explain(camport, exported, photo, tmp_path):
    assert (
        camport(
            "explain", photo, "-m", "demo:gap-pool", "--target", "two", "-o", "eager.npz"
        ).status
        == 0
    )
    done = camport("run", exported, photo, "--target", "two", "-o", "edge.npz")
    assert (done.status, done.err) == (0, "")
    assert re.search(r"photo.png: two \(2\), score -?\d+\.\d\d\nwrote edge.npz\n$", done.out)
    eager, edge = np.load(tmp_path / "eager.npz"), np.load(tmp_path / "edge.npz")
    np.testing.assert_allclose(edge["heatmap"], eager["heatmap"], atol=1e-4)
    np.testing.assert_allclose(edge["score"], eager["score"], rtol=1e-4)
    assert camport("run", exported, photo, "-o", "edge.png").status == 0
    with Image.open(tmp_path / "edge.png") as picture:
        assert picture.width > 2 * 96


def test_export_reports_and_fills_in_the_metadata(camport, tmp_path):
    done = camport(
        *(
            "export",
            "-m",
            "demo:gap-pool",
            "--method",
            "layercam",
            "--layer",
            "features.3",
            "--size",
            "32x40",
        ),
        *("-o", "small.onnx"),
    )
    assert (done.status, done.err) == (0, "")
    assert "nodes: " in done.out
    assert "heatmap" in done.out
    assert done.out.endswith("wrote small.onnx\n")
    explainer = load(tmp_path / "small.onnx")
    assert explainer.metadata["layer"] == ["features.3"]
    assert explainer.metadata["method"]["name"] == "layercam"
    assert explainer.metadata["adapter"]["name"] == "classification"
    assert explainer.metadata["version"] == library.__version__
    assert explainer.preprocess.size == (32, 40)
    assert explainer.labels[7] == "seven"
    assert {node.domain for node in onnx.load(tmp_path / "small.onnx").graph.node} == {""}
    assert [port.name for port in explainer.inputs] == ["images", "target"]
    assert [f.name for f in tmp_path.iterdir()] == ["small.onnx"]


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize(
    ("suffix", "kind"), [*rare((".pt2", "torch.export")), (".pt", "TorchScript")]
)
def test_export_writes_what_the_suffix_says(camport, tmp_path, suffix, kind):
    done = camport("export", "-m", "demo:gap-pool", "--size", "32x40", "-o", f"small{suffix}")
    assert (done.status, done.err) == (0, "")
    assert f"{kind}, dynamic b" in done.out
    assert [f.name for f in tmp_path.iterdir()] == [f"small{suffix}"]


def test_export_names_the_suffixes_it_knows(refused):
    refused(
        r"what can be written is \.onnx, \.pt2, \.pt$",
        "export",
        "-m",
        "demo:gap-pool",
        "-o",
        "out.pth",
    )


def test_listings(camport):
    methods = camport("methods")
    assert methods.status == 0
    for name, info in library.methods().items():
        line = next(line for line in methods.out.splitlines() if line.split()[0] == name)
        assert info.title in line
        assert line.rstrip().endswith(info.distribution)
    assert any(line.startswith("classification ") for line in camport("adapters").out.splitlines())
    metrics = camport("metrics").out.splitlines()
    for name, metric in library.metrics().items():
        line = next(line for line in metrics if line.split()[0] == name)
        assert metric.title in line
        assert f" {metric.better} " in line
    plugins = camport("plugins").out
    assert all(
        name in plugins for name in ("camport.plugins", "camport.adapters", "camport.metrics")
    )
    assert plugins.count("loaded") >= 3


def test_one_method_is_told_in_full(camport, refused):
    done = camport("methods", "layercam")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith(
        "LayerCAM (layercam)\n\nLayerCAM: every location weighted by its own positive gradient"
    )
    for line in (
        r"paper:      https://doi.org/10.1109/TIP.2021.3089943, eq. 6, 7 and 9",
        r"map:        \[b,h,w\] of the layer, >= 0",
        r"cost:       1 forward pass",
        r"deviations: the paper scales the shallow layers",
        r"exports:    yes",
        r"  gamma = 2.0: the paper's scale factor.",
    ):
        assert re.search(line, done.out), line
    assert "exports:    no: segmentation" in camport("methods", "xrai").out
    refused(r"unknown method 'layer-cam'; did you mean 'layercam'", "methods", "layer-cam")


def test_layers(camport):
    done = camport("layers", "-m", "demo:digits")
    assert (done.status, done.err) == (0, "")
    lines = {line.split()[0]: line for line in done.out.splitlines()}
    assert lines["layer3"].split()[1:] == ["Sequential", "1x96x16x16", "chosen"]
    assert done.out.count("chosen") == 1
    # a module that runs twice is shown as often, as --layer takes it
    assert "layer1.0.relu@0" in lines
    assert "layer1.0.relu@1" in lines
    assert "1x96x5x8" in camport("layers", "-m", "demo:digits", "--size", "40x64").out


def test_help_and_nothing(camport):
    for arguments in (["--help"], ["explain", "-h"], ["run", "--help"]):
        done = camport(*arguments)
        assert done.status == 0
        assert "Usage" in done.out
    assert "explain" in camport("--help").out


@pytest.fixture
def net(tmp_path):
    """A module of the user's own, in the working directory."""
    (tmp_path / "my_nets.py").write_text(
        "from torch import nn\ndef small(classes=4):\n    return nn.Sequential(nn.Conv2d(3, 5, 3),"
        " nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),\n                         nn.Linear(5,"
        " classes))\nready = small()\nnumber = 7\ndef broken():\n    raise"
        " ZeroDivisionError('oops')\ndef nothing():\n    return None\ndef silent():\n    return"
        " nn.Sequential(nn.Flatten(), nn.LazyLinear(3))\n"
    )
    yield tmp_path
    import sys

    sys.modules.pop("my_nets", None)


@pytest.mark.parametrize("name", ["small", "ready"])
def test_a_callable_from_the_working_directory(camport, photo, net, name):
    done = camport("explain", photo, "-m", f"my_nets:{name}", "-o", "out.npz")
    assert done.status == 0, done.err
    assert "class " in done.out  # nobody told it the labels
    size = '{"size": [32, 32]}'
    assert (
        camport(
            "explain", photo, "-m", f"my_nets:{name}", "--preprocess", size, "-o", "out.npz"
        ).status
        == 0
    )
    assert "chosen" in camport("layers", "-m", f"my_nets:{name}", "--size", "32x32").out


def test_callables_that_give_no_model(refused, photo, net):
    for name, match in (
        ("smal", "unknown name in my_nets 'smal'; did you mean 'small'"),
        ("number", "my_nets:number is int, neither a model nor a callable"),
        ("broken", r"my_nets:broken\(\) failed: ZeroDivisionError: oops"),
        ("nothing", r"my_nets:nothing\(\) returned NoneType, not a torch.nn.Module"),
    ):
        refused(match, "explain", photo, "-m", f"my_nets:{name}", "-o", "out.png")
    (net / "torn.py").write_text("def (")
    refused(
        "module 'torn' failed to import: SyntaxError",
        "explain",
        photo,
        "-m",
        "torn:x",
        "-o",
        "out.png",
    )
    refused(
        "module 'my_nets.deep' cannot be imported",
        "explain",
        photo,
        "-m",
        "my_nets.deep:x",
        "-o",
        "out.png",
    )
    refused("names no image size; give one, e.g. --size", "layers", "-m", "my_nets:small")
    refused(
        "names no image size; give one, e.g. --size",
        "export",
        "-m",
        "my_nets:small",
        "-o",
        "out.onnx",
    )


def state(tmp_path, change=lambda k: k, classes=4):
    from torch import nn

    model = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, classes)
    )
    return {change(k): v for k, v in model.state_dict().items()}


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
@pytest.mark.parametrize("kind", [".pt", ".safetensors", "nested"])
def test_weights_from_files(camport, photo, net, tmp_path, prefix, kind):
    tensors = state(tmp_path, lambda k: prefix + k)
    if kind == ".safetensors":
        from safetensors.torch import save_file

        save_file(tensors, tmp_path / "w.safetensors")
    else:
        torch.save(
            {"epoch": 3, "state_dict": tensors} if kind == "nested" else tensors, tmp_path / "w.pt"
        )
    file = "w.safetensors" if kind == ".safetensors" else "w.pt"
    outs = []
    for _ in range(2):  # with weights of a file the result does not depend on the random state
        done = camport("explain", photo, "-m", "my_nets:small", "--weights", file, "-o", "out.npz")
        assert done.status == 0, done.err
        outs.append(np.load(tmp_path / "out.npz")["score"])
    assert outs[0] == outs[1]


def test_torchvision_with_random_weights(camport, photo, tmp_path):
    done = camport("explain", photo, *RESNET, "none", "--target", "tabby", "-o", "x.npz")
    assert done.status == 0, done.err
    assert re.search(r"tabby \(281\), score .* layer layer4", done.out)
    assert np.load(tmp_path / "x.npz")["heatmap"].shape == (1, 224, 224)


def test_torchvision_weights_with_another_number_of_classes(camport, photo, tmp_path):
    from torchvision.models import resnet18

    with torch.random.fork_rng():
        torch.save(resnet18(num_classes=7).state_dict(), tmp_path / "seven.pth")
    done = camport("explain", photo, *RESNET, "seven.pth", "--target", 6, "-o", "x.npz")
    assert done.status == 0, done.err
    assert "class 6, score" in done.out


@pytest.mark.everything
@pytest.mark.parametrize("name", ["deeplabv3_mobilenet_v3_large", "lraspp_mobilenet_v3_large"])
def test_torchvision_segmentation(camport, photo, tmp_path, name):
    done = camport(
        *("explain", photo, "-m", f"torchvision:{name}", "--weights", "none", "--target", "cat"),
        *("--box", "10,10,60,60", "-o", "x.npz", "--adapter", "segmentation"),
    )
    assert done.status == 0, done.err
    assert re.search(r"cat, score", done.out)
    assert np.load(tmp_path / "x.npz")["heatmap"].shape == (1, 392, 520)


def test_torchvision_segmentation_weights(camport, photo, tmp_path):
    from torchvision.models import segmentation

    with torch.random.fork_rng():
        model = segmentation.fcn_resnet50(
            weights=None, weights_backbone=None, num_classes=3, aux_loss=True
        )
        torch.save(model.state_dict(), tmp_path / "three.pth")
    arguments = (
        "explain",
        photo,
        "-m",
        "torchvision:fcn_resnet50",
        "--weights",
        "three.pth",
        "-o",
        "x.npy",
    )
    done = camport(
        *arguments, "--preprocess", '{"size": [64, 64]}', "--target", "2", "--box", "10,10,60,60"
    )
    assert done.status == 0, done.err
    assert "class 2, score" in done.out


def test_timm_with_random_weights(camport, photo, tmp_path):
    pytest.importorskip("timm")
    done = camport("explain", photo, "-m", "timm:resnet18", "--weights", "none", "-o", "x.npz")
    assert done.status == 0, done.err
    assert np.load(tmp_path / "x.npz")["heatmap"].shape == (1, 224, 224)


def test_the_demo_says_what_its_times_are_worth(camport, monkeypatch):
    """They are of a network so small that their ratio says nothing of others."""
    from camport.show import show

    ms = {"bare": 2.63, "explained": 8.94, "exported": 1.5}
    report = SimpleNamespace(bytes=700_000, nodes=62, opset=20)
    figures = show.Figures(3, 4, 1e-6, 0, ms, report, 1e-6)

    def shown(output, step):
        output.mkdir()
        return figures

    monkeypatch.setattr(show, "show", shown)
    done = camport("demo", "-o", "there")
    assert done.status == 0, done.err
    lines = [" ".join(line.split()) for line in done.out.splitlines()]
    at = lines.index("file, prediction and explanation 1.50 ms, without PyTorch")
    assert "a tiny network: fixed costs dominate" in lines[at + 1]
