"""Exporting to .pt2: what PyTorch alone computes from the file."""

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
from programs import IMAGES, Bound, CamProgram, small
from torch import Tensor, nn

from camport.errors import ExportError, OutputError
from camport.export import to_pt2
from tests.fresh_process import FreshProcess

INPUTS = {"images": torch.randn(4, 3, 33, 40), "target": torch.tensor([-1, 3, 9, -1])}
NAMES = ["outputs", "score", "heatmap", "feature_maps", "gradients"]

ALONE = """
import sys, torch
sys.modules["camport"] = None
inputs = torch.load(sys.argv[2])
torch.save(torch.export.load(sys.argv[1]).module()(inputs["images"], inputs["target"]), sys.argv[3])
"""


def test_runs_by_pytorch_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], forks: FreshProcess
) -> None:
    """The export starts a process of its own here, as it does for its users."""
    net = small()
    filters = list(warnings.filters)
    report = to_pt2(Bound(CamProgram(net, "2", classes=10)), tmp_path / "small.pt2", IMAGES)
    assert capfd.readouterr() == ("", "")
    assert filters == list(warnings.filters)
    assert [p.name for p in tmp_path.iterdir()] == ["small.pt2"]
    assert report.bytes == (tmp_path / "small.pt2").stat().st_size
    assert (report.format, report.dynamic, report.opset) == ("torch.export", ("b",), None)
    assert list(report.parity) == NAMES
    assert report.lowered < 1e-12
    assert "torch.export, dynamic b" in str(report)
    assert not any("backward" in name or "::" in name for name in report.operators)

    torch.save(INPUTS, tmp_path / "in")
    files = [str(tmp_path / name) for name in ("small.pt2", "in", "out")]
    forks.run([sys.executable, "-W", "ignore", "-c", ALONE, *files], check=True)
    program = CamProgram(net, "2")
    expected = program(program.state, INPUTS)
    for value, (name, reference) in zip(
        torch.load(tmp_path / "out"), expected.items(), strict=True
    ):
        assert (value - reference).norm() <= 1e-4 * reference.norm(), name

    extra = dict.fromkeys(("camport.method", "camport.layer", "camport.outputs"), "")
    loaded = torch.export.load(tmp_path / "small.pt2", extra_files=extra)
    assert extra["camport.layer"] == "2"
    assert json.loads(extra["camport.outputs"]) == NAMES
    weights = sum(t.numel() for t in net.state_dict().values())
    assert sum(t.numel() for t in loaded.state_dict.values()) <= weights


@pytest.mark.everything
@pytest.mark.usefixtures("fresh_process")
def test_images_of_another_size(tmp_path: Path) -> None:
    net = small()
    report = to_pt2(
        Bound(CamProgram(net, "2", classes=10)),
        tmp_path / "small.pt2",
        IMAGES,
        dynamic="batch+size",
    )
    assert report.dynamic == ("b", "H", "W")
    run = torch.export.load(tmp_path / "small.pt2").module()
    program = CamProgram(net, "2")
    for size in ((29, 46), (40, 33)):
        given = {"images": torch.randn(3, 3, *size), "target": torch.tensor([-1, 3, 9])}
        expected = program(program.state, given)
        for value, (name, reference) in zip(run(*given.values()), expected.items(), strict=True):
            assert value.shape == reference.shape
            assert (value - reference).norm() <= 1e-4 * reference.norm(), name


class Foreign(nn.Module):
    """Calls an operator that is not PyTorch's."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.ops.camport_test.twice(x)


def test_foreign_operator_is_refused(tmp_path: Path) -> None:
    with torch.library._scoped_library("camport_test", "DEF") as library:
        library.define("twice(Tensor x) -> Tensor")
        torch.library.impl(library, "twice", "CompositeExplicitAutograd")(lambda x: x * 2)
        torch.library.register_fake("camport_test::twice", torch.empty_like, lib=library)
        net = small()
        net.insert(0, Foreign())
        with pytest.raises(ExportError, match=r"twice\.default \(not PyTorch's own\) in '0'"):
            to_pt2(Bound(CamProgram(net, "10", classes=10)), tmp_path / "small.pt2", IMAGES)
    assert not list(tmp_path.iterdir())


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="does not exist"):
        to_pt2(Bound(None), tmp_path / "nowhere" / "a.pt2", IMAGES)
    with pytest.raises(ExportError, match='must be "batch" or "batch\\+size"'):
        to_pt2(Bound(None), tmp_path / "a.pt2", IMAGES, dynamic="size")
