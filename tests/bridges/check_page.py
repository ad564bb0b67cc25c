"""docs/bridges.md: its Python runs as it stands, with the packages that it speaks of;
run by test_packages.py."""

import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

PAGE = (Path(__file__).parents[2] / "docs/bridges.md").read_text("utf-8")


def test_the_page(tmp_path, monkeypatch):
    import mlflow

    from tests.bridges.explained import detected

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    mlflow.set_experiment("page")
    explanation, labels = detected()
    calls = []
    api = SimpleNamespace(
        create_repo=lambda repo, exist_ok: calls.append(repo),
        upload_folder=lambda repo_id, folder_path: calls.append(
            sorted(p.name for p in Path(folder_path).iterdir())
        ),
    )
    names = {
        "detector": detector(),
        "frames": explanation.images[[0]],
        "labels": labels,
        "api": api,
    }
    names["frame"] = np.full((128, 128, 3), 100, np.uint8)
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    ):
        exec(compile(block, f"docs/bridges.md, block {number}", "exec"), names)
    assert (names["drawn"] != 100).any()
    np.testing.assert_array_equal(names["label"].map, names["explanation"].heatmap[0])
    assert list((tmp_path / "runs/cat").glob("events*"))
    assert [p.name for p in (tmp_path / "runs").rglob("0.png")] == ["0.png"]
    assert names["callback"].__name__ == "explain"
    assert calls == ["OWNER/NAME", ["README.md", "model.onnx"]]
    assert torch.equal(names["images"], torch.from_numpy(names["pixels"])[None])


def detector():
    from camport.models import load_model

    return load_model("demo:detector").model
