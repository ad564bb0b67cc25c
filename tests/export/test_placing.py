"""Files that lie beside the file: weights too large for it, and what happens to older ones."""

import json
import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from programs import IMAGES, Bound, CamProgram, small

from camport import runtime
from camport.errors import ModelError, OutputError, ParityError
from camport.export import to_onnx
from camport.export.atomic_file import placed
from camport.export.onnx_file import from_graph
from camport.export.writing import to_onnx as onnx_format


class Named(Bound):
    def metadata(self, images: object) -> dict[str, str]:
        return {"camport.version": "0", "camport.preprocess": json.dumps({"size": [33, 40]})}


def bound() -> Named:
    return Named(CamProgram(small(), "2", classes=10))


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights beyond a kilobyte are too large for the file."""
    monkeypatch.setattr(from_graph, "LARGEST", 1000)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_large_weights_lie_beside_the_file(tmp_path: Path, large: None) -> None:
    report = to_onnx(bound(), tmp_path / "a.onnx", IMAGES, report=True)
    assert names(tmp_path) == ["a.onnx", "a.onnx.data", "a.onnx.report.json"]
    sizes = [(tmp_path / name).stat().st_size for name in ("a.onnx", "a.onnx.data")]
    assert report.bytes == sum(sizes)
    assert sizes[1] > 4000
    initializers = onnx.load(tmp_path / "a.onnx", load_external_data=False).graph.initializer
    assert {e.value for t in initializers for e in t.external_data if e.key == "location"} == {
        "a.onnx.data"
    }
    pixels = np.random.default_rng(0).standard_normal((2, 3, 33, 40), dtype=np.float32)
    result = runtime.load(tmp_path / "a.onnx")(pixels)
    assert result.heatmap.shape == (2, 33, 40)

    moved = tmp_path / "elsewhere"
    moved.mkdir()
    for name in ("a.onnx", "a.onnx.data"):
        (tmp_path / name).rename(moved / name)
    assert np.array_equal(runtime.load(moved / "a.onnx")(pixels).heatmap, result.heatmap)
    (moved / "a.onnx.data").unlink()
    with pytest.raises(
        ModelError, match=r"its weights, a\.onnx\.data, is not beside it|its weights.*not beside"
    ):
        runtime.load(moved / "a.onnx")


@pytest.mark.everything
def test_the_options_work_on_large_weights(tmp_path: Path, large: None) -> None:
    images = IMAGES.expand(8, -1, -1, -1) + 0.1
    options = {
        "precision": "int8",
        "calibration": images,
        "preprocess": True,
        "outputs": ("outputs", "heatmap"),
    }
    to_onnx(bound(), tmp_path / "a.onnx", IMAGES, **options)
    assert names(tmp_path) == ["a.onnx", "a.onnx.data"]
    pixels = np.random.default_rng(0).integers(0, 256, (2, 50, 60, 3), dtype=np.uint8)
    assert runtime.load(tmp_path / "a.onnx")(pixels).heatmap.shape == (2, 33, 40)


def test_nothing_is_left_behind(
    tmp_path: Path, large: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = onnx_format.runner

    def wrong(path: Path) -> object:
        assert path.with_name("a.onnx.data").exists()
        run = honest(path)
        return lambda inputs: {k: v + 1 for k, v in run(inputs).items()}

    to_onnx(bound(), tmp_path / "a.onnx", IMAGES)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    monkeypatch.setattr(onnx_format, "runner", wrong)
    with pytest.raises(ParityError):
        to_onnx(bound(), tmp_path / "a.onnx", IMAGES, report=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def external(path: Path, data: str) -> None:
    tensor = onnx.numpy_helper.from_array(np.arange(6, dtype=np.float32), "w")
    graph = onnx.helper.make_graph([], "g", [], [], [tensor])
    onnx.save(
        onnx.helper.make_model(graph),
        path,
        save_as_external_data=True,
        location=data,
        size_threshold=0,
    )


def write(target: Path, files: dict[str, bytes]) -> None:
    with placed(target) as draft:
        for name, content in files.items():
            draft.with_name(name).write_bytes(content)


def test_an_older_files_weights_go_with_it(tmp_path: Path) -> None:
    external(tmp_path / "a.onnx", "a.onnx.data")
    write(tmp_path / "a.onnx", {"a.onnx": b"new"})
    assert names(tmp_path) == ["a.onnx"]


@pytest.mark.parametrize("old", [b"not ONNX", None])
def test_what_is_not_an_older_files_stays(tmp_path: Path, old: bytes | None) -> None:
    (tmp_path / "a.onnx.data").write_bytes(b"mine")
    if old is not None:
        (tmp_path / "a.onnx").write_bytes(old)
    external(tmp_path / "b.onnx", "a.onnx.data")
    write(tmp_path / "a.onnx", {"a.onnx": b"new"})
    assert (tmp_path / "a.onnx").read_bytes() == b"new"
    assert "a.onnx.data" in names(tmp_path)


def test_new_weights_replace_old_ones(tmp_path: Path) -> None:
    external(tmp_path / "a.onnx", "a.onnx.data")
    write(
        tmp_path / "a.onnx", {"a.onnx": b"new", "a.onnx.data": b"weights", "scratch": b"not moved"}
    )
    assert names(tmp_path) == ["a.onnx", "a.onnx.data"]
    assert (tmp_path / "a.onnx.data").read_bytes() == b"weights"


@pytest.mark.parametrize("fails", ["a.onnx.data", "a.onnx.report.json", "a.onnx"])
@pytest.mark.parametrize("old", [True, False])
@pytest.mark.parametrize("links", [True, False])
def test_a_move_that_fails_is_undone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str, old: bool, links: bool
) -> None:
    if old:
        for name in ("a.onnx", "a.onnx.data", "a.onnx.report.json"):
            (tmp_path / name).write_bytes(b"old " + name.encode())
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    honest = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(target) == tmp_path / fails and Path(source).parent.name.startswith(".camport-"):
            raise OSError(28, "No space left on device")
        honest(source, target)

    def link(source: Path, target: Path) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "replace", replace)
    if not links:
        monkeypatch.setattr(os, "link", link)
    with pytest.raises(OutputError, match="No space left on device"):
        write(
            tmp_path / "a.onnx",
            dict.fromkeys(("a.onnx", "a.onnx.data", "a.onnx.report.json"), b"new"),
        )
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_a_stale_file_survives_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    external(tmp_path / "a.onnx", "a.onnx.data")
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    honest = os.replace

    def replace(source: Path, target: Path) -> None:
        if Path(source) == tmp_path / "a.onnx.data":
            raise OSError(1, "Operation not permitted")
        honest(source, target)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(OutputError, match="not permitted"):
        write(tmp_path / "a.onnx", {"a.onnx": b"new"})
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
