"""What an export did, stage by stage; also of one that failed."""

import json

import pytest
import torch
from torch import nn

import camport
from camport.cli import main
from camport.errors import ExportError
from camport.export import to_onnx
from camport.export.passes import runner
from camport.export.stages import recorded
from tests.nets import Net, images, seeded

ALWAYS = [
    "preflight",
    "capture",
    "passes before the rules",
    "backward rules",
    "passes behind the rules",
]
PROVEN = [
    "preflight of the lowered graph",
    "proof of the graph, in float64",
    "writing ONNX",
    "proof of the file",
]


def bound():
    return camport.bind(seeded(Net(), dtype=torch.float32), "gradcam", layer="features")


def test_the_report_has_them(tmp_path):
    made = to_onnx(bound(), tmp_path / "x.onnx", images(2).float(), report=True, one_image=True)
    assert [stage.name for stage in made.stages] == [*ALWAYS, *PROVEN, "one image"]
    by_name = {stage.name: stage for stage in made.stages}
    assert by_name["passes before the rules"].counts["fold_batch_norm"] == 1
    assert by_name["writing ONNX"].counts["nodes"] > 10
    assert all(stage.seconds >= 0 and not stage.failed for stage in made.stages)
    assert sum(stage.seconds for stage in made.stages) <= made.seconds
    stored = json.loads((tmp_path / "x.onnx.report.json").read_text())
    assert [stage["name"] for stage in stored["stages"]] == [stage.name for stage in made.stages]


def test_the_stage_that_failed_is_the_last(monkeypatch, tmp_path):
    def broken(graph):
        raise RuntimeError("no")

    monkeypatch.setattr("camport.export.lower.AFTER", (broken,))
    with (
        recorded() as stages,
        pytest.raises(ExportError, match="graph pass broken failed: no") as raised,
    ):
        to_onnx(bound(), tmp_path / "x.onnx", images(2).float())
    assert raised.value.__notes__ == ["stage of the export: passes behind the rules; pass: broken"]
    assert [stage.name for stage in stages] == ALWAYS
    assert [stage.failed for stage in stages] == [False, False, False, False, True]
    assert str(stages[-1]).endswith("passes behind the rules (failed)")


def test_the_command_prints_them_and_writes_the_graphs(tmp_path, capsys):
    target, folder = tmp_path / "x.onnx", tmp_path / "graphs"
    assert (
        main(
            [
                "export",
                "-m",
                "demo:gap-pool",
                "-o",
                str(target),
                "--explain",
                "--graphs",
                str(folder),
            ]
        )
        == 0
    )
    said = capsys.readouterr().out
    for name in (*ALWAYS, *PROVEN):
        assert name in said
    written = sorted(path.name for path in folder.iterdir())
    assert written[0].startswith("001-")
    assert len(written) >= 10
    assert "def forward(" in (folder / written[-1]).read_text()


def test_the_command_names_the_stage_that_failed(monkeypatch, tmp_path, capsys):
    def broken(graph):
        raise RuntimeError("no")

    monkeypatch.setattr("camport.export.lower.AFTER", (broken,))
    assert main(["export", "-m", "demo:gap-pool", "-o", str(tmp_path / "x.onnx")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "graph pass broken failed: no" in line
    assert line.endswith("(stage of the export: passes behind the rules; pass: broken)")


def test_a_folder_of_graphs_that_cannot_be(tmp_path, capsys):
    command = ["export", "-m", "demo:gap-pool", "-o", str(tmp_path / "x.onnx"), "--graphs"]
    assert main([*command, str(tmp_path / "no" / "graphs")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no does not exist; make it first" in line


def test_a_pass_is_counted():
    graph = torch.fx.symbolic_trace(nn.ReLU())

    def twice(graph):
        return 2

    assert runner.run_passes(graph, [twice]) == {"twice": 2}
