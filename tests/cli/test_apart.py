"""An output never replaces what is read, whatever links lead there;
other links are written through."""

import os
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

REPLACED = "is read and would be replaced; write to another file"


@pytest.fixture
def names(photo: Path) -> list[str]:
    """The photograph under its own name, by a link, by a second name."""
    photo.with_name("link.png").symlink_to(photo.name)
    os.link(photo, photo.with_name("second.png"))
    return ["photo.png", "link.png", "second.png"]


def test_explain(refused, names: list[str], photo: Path) -> None:
    weights, labels = photo.with_name("weights.npz"), photo.with_name("labels.npy")
    weights.write_bytes(b"weights")
    labels.write_text("zero\n")
    for output in names:
        refused(REPLACED, "explain", photo, "-m", "demo:gap-pool", "-o", output)
    refused(REPLACED, "explain", "link.png", "-m", "demo:gap-pool", "-o", "photo.png")
    refused(REPLACED, "explain", photo, "-m", "demo:gap-pool", "--weights", weights, "-o", weights)
    refused(
        REPLACED, "explain", photo, "-m", "demo:gap-pool", "--labels", labels, "-o", "./labels.npy"
    )
    refused(
        REPLACED, "explain", photo, "-m", "demo:gap-pool", "--input", f"x={labels}", "-o", labels
    )


def test_run(refused, names: list[str], exported: Path, tmp_path: Path) -> None:
    shutil.copy(exported, tmp_path / "m.onnx")
    (tmp_path / "m.npz").symlink_to("m.onnx")
    refused(REPLACED, "run", "m.onnx", "photo.png", "-o", "second.png")
    refused(REPLACED, "run", "m.onnx", "photo.png", "-o", "m.npz")


def test_export(refused, names: list[str], exported: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    shutil.copy(exported, model)
    (tmp_path / "link.onnx").symlink_to("m.onnx")
    os.link(model, tmp_path / "second.onnx")
    for output in ("m.onnx", "link.onnx", "second.onnx"):
        refused(REPLACED, "export", "-m", model, "-o", output)
    shutil.copy("photo.png", "photo.onnx")
    refused(REPLACED, "export", "-m", "demo:gap-pool", "--images", "photo.onnx", "-o", "photo.onnx")
    refused(
        REPLACED, "export", "-m", "demo:gap-pool", "--weights", "photo.onnx", "-o", "photo.onnx"
    )
    tensor = onnx.numpy_helper.from_array(np.arange(600, dtype=np.float32), "w")
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    beside = {"save_as_external_data": True, "location": "other.onnx.data", "size_threshold": 0}
    onnx.save(onnx.helper.make_model(graph), tmp_path / "large.onnx", **beside)
    refused(rf"other\.onnx\.data.*{REPLACED}", "export", "-m", "large.onnx", "-o", "other.onnx")


def test_evaluate(refused, names: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "table.csv").write_text("zero\none\n")
    command = ("evaluate", "-m", "demo:gap-pool", "--data", "demo:scenes")
    refused(REPLACED, *command, "--labels", folder / "table.csv", "-o", folder)


def test_a_link_is_written_through(camport, photo: Path) -> None:
    photo.with_name("real").mkdir()
    photo.with_name("out.npy").symlink_to("real/there.npy")
    done = camport("explain", photo, "-m", "demo:gap-pool", "-o", "out.npy")
    assert done.status == 0, done.err
    assert photo.with_name("out.npy").is_symlink()
    assert (photo.with_name("real") / "there.npy").is_file()
    photo.with_name("nowhere.npy").symlink_to("no/folder.npy")
    done = camport("explain", photo, "-m", "demo:gap-pool", "-o", "nowhere.npy")
    assert done.status == 2
    assert "no does not exist; make the directory first" in done.err
