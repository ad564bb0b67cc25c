"""load: what a file says of itself, and one clear error for every file that is none."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from camport.errors import InputError, MissingDependencyError, ModelError, UnknownNameError
from camport.runtime import Preprocess, load
from camport.runtime.guessed import GuessedPreprocess


def test_reads_metadata(write) -> None:
    explainer = load(write(labels=["a", "b", "c", "d"]))
    assert explainer.metadata["version"] == "0.1.0"
    assert explainer.metadata["method"] == {"name": "groupcam", "options": {"groups": 32}}
    assert explainer.metadata["layer"] == ["layer4"]
    assert explainer.labels == ("a", "b", "c", "d")
    assert [str(port) for port in explainer.inputs] == [
        "images float32 [b,3,H,W]",
        "target int64 [b]",
    ]
    assert [port.name for port in explainer.outputs] == [
        "outputs",
        "score",
        "heatmap",
        "feature_maps",
    ]
    assert explainer.providers == ("CPUExecutionProvider",)
    assert "Explainer(x.onnx: groupcam at layer4, on CPUExecutionProvider" in repr(explainer)
    assert "heatmap float32 [b,H,W]" in repr(explainer)


def test_preprocess_metadata_and_its_defaults(write) -> None:
    base = {"camport.version": "1"}
    given = Preprocess(size=(8, 8), fit="crop", resize=10, mean=(0.5, 0.5, 0.5))
    assert load(write(metadata=base | {"camport.preprocess": given.to_json()})).preprocess == given
    assert load(write(metadata=base)).preprocess == GuessedPreprocess(size=None)
    fixed = write(metadata=base, shapes={"images": ["b", 3, 6, 10]})
    assert load(fixed).preprocess == GuessedPreprocess(size=(6, 10), fit="stretch")


def test_labels_as_an_object_count_from_zero(write) -> None:
    explainer = load(
        write(metadata={"camport.version": "1", "camport.labels": '{"1": "b", "0": "a"}'})
    )
    assert explainer.labels == ("a", "b")


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"camport.labels": '{"0": "a", "2": "b"}'}, "camport.labels must be a JSON list"),
        ({"camport.labels": "tabby"}, "camport.labels must be a JSON list"),
        (
            {"camport.preprocess": '{"sise": [8, 8]}'},
            "camport.preprocess: unknown preprocess key 'sise'.*'size'",
        ),
    ],
)
def test_broken_metadata(write, entry, message) -> None:
    with pytest.raises(ModelError, match=message):
        load(write(metadata={"camport.version": "1"} | entry))


def test_no_camport_file(write) -> None:
    with pytest.raises(
        ModelError, match=r"no camport explainer.*it gives outputs, score, heatmap.*camport export"
    ):
        load(write(metadata={}))


def _garbage(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"hello", "corrupt, truncated or not ONNX"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "Git LFS pointer"),
        (b"<!DOCTYPE html>", "web page"),
        (b"PK\x03\x04aaaaaaaa", "zip archive"),
    ],
)
def test_files_that_are_no_graphs(tmp_path, capfd, content, message) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        load(_garbage(tmp_path / "x.onnx", content))
    assert "\n" not in str(caught.value)
    assert "ONNXRuntimeError" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_every_truncation_is_one_error(write, tmp_path, capfd) -> None:
    whole = write().read_bytes()
    for size in range(1, len(whole), 37):
        with pytest.raises(ModelError) as caught:
            load(_garbage(tmp_path / "cut.onnx", whole[:size]))
        assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_missing_file_offers_its_neighbours(write, tmp_path) -> None:
    write(name="gradcam.onnx")
    with pytest.raises(
        ModelError, match=r"nope\.onnx does not exist; in that folder there is gradcam\.onnx"
    ):
        load(tmp_path / "nope.onnx")
    with pytest.raises(ModelError, match="does not exist"):
        load("x" * 300)
    with pytest.raises(ModelError, match="is a directory"):
        load(tmp_path)


def test_an_operator_the_engine_lacks_is_one_line(write, tmp_path, capfd) -> None:
    content = write().read_bytes().replace(b"AveragePool", b"AveragePoop")
    with pytest.raises(ModelError, match="AveragePoop") as caught:
        load(_garbage(tmp_path / "odd.onnx", content))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_threads(write) -> None:
    assert load(write(), threads=1).providers
    with pytest.raises(InputError, match="threads is 0"):
        load(write(), threads=0)


def test_without_onnxruntime(write, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingDependencyError, match=r'pip install "camport\[cpu\]"'):
        load(write())


def test_result_is_a_mapping_with_attributes(write) -> None:
    result = load(write())(np.zeros((2, 3, 4, 6), np.float32))
    assert list(result) == ["outputs", "score", "heatmap", "feature_maps"]
    assert result.heatmap is result["heatmap"]
    assert result.heatmap.shape == (2, 4, 6)
    assert result.feature_maps.shape == (2, 3, 2, 3)
    assert "heatmap        float32 [2,4,6] in [0.5, 0.5]" in repr(result)
    assert "heatmap" in dir(result)
    assert not hasattr(result, "gradients")
    assert "gradients" not in result
    assert result.get("gradients") is None
    with pytest.raises(
        UnknownNameError, match=r"^unknown output 'heatmaps'; did you mean 'heatmap'"
    ):
        result["heatmaps"]
    with pytest.raises(UnknownNameError, match="did you mean 'heatmap'"):
        _ = result.heatmaps
    for twin in (copy.deepcopy(result), pickle.loads(pickle.dumps(result))):
        assert np.array_equal(twin.heatmap, result.heatmap)


def test_importing_is_light() -> None:
    code = (
        "import sys, camport.runtime, camport.view;"
        "heavy = ('torch', 'torchvision', 'onnx', 'matplotlib', 'onnxruntime');"
        "print([m for m in heavy if m in sys.modules])"
    )
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment
    )
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
