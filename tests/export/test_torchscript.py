"""Exporting to TorchScript: what torch.jit.load alone computes, with a free batch and without."""

import json
import sys
import warnings
from pathlib import Path

import pytest
import torch
from programs import IMAGES, Bound, CamProgram, small
from torch import Tensor, nn

from camport.errors import ExportError
from camport.export import to_torchscript
from tests.fresh_process import FreshProcess

ALONE = """
import sys, torch
sys.modules["camport"] = None
inputs = torch.load(sys.argv[2])
torch.save(torch.jit.load(sys.argv[1])(inputs["images"], inputs["target"]), sys.argv[3])
"""


def check_alone(process: FreshProcess, path: Path, program: CamProgram, batch: int) -> None:
    """Requires the file's outputs to be the program's, at a batch that may not have been traced."""
    inputs = program.sample(IMAGES, batch, 77)
    torch.save(inputs, path.parent / "in")
    files = [str(path), str(path.parent / "in"), str(path.parent / "out")]
    process.run([sys.executable, "-W", "ignore", "-c", ALONE, *files], check=True)
    expected = program(program.state, inputs)
    for value, (name, reference) in zip(
        torch.load(path.parent / "out"), expected.items(), strict=True
    ):
        assert value.shape == reference.shape
        assert (value - reference).norm() <= 1e-4 * reference.norm(), name


def test_dynamic_batch(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], fresh_process: FreshProcess
) -> None:
    program = CamProgram(small(), "2", classes=10)
    filters = list(warnings.filters)
    report = to_torchscript(Bound(program), tmp_path / "small.pt", IMAGES)
    assert capfd.readouterr() == ("", "")
    assert filters == list(warnings.filters)
    assert [p.name for p in tmp_path.iterdir()] == ["small.pt"]
    assert (report.format, report.dynamic, report.opset) == ("TorchScript", ("b",), None)
    assert "TorchScript, dynamic b" in str(report)
    assert report.bytes == (tmp_path / "small.pt").stat().st_size
    check_alone(fresh_process, tmp_path / "small.pt", program, 5)

    extra = dict.fromkeys(("camport.layer", "camport.outputs"), "")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.load(tmp_path / "small.pt", _extra_files=extra)
    values = {k: v.decode() if isinstance(v, bytes) else v for k, v in extra.items()}
    assert values["camport.layer"] == "2"
    assert json.loads(values["camport.outputs"]) == [
        "outputs",
        "score",
        "heatmap",
        "feature_maps",
        "gradients",
    ]


class ByImage(nn.Module):
    """Takes the batch as a number: one image after the other."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([image[None] * 2 for image in x.unbind()])


def test_static_batch_where_it_must(tmp_path: Path, fresh_process: FreshProcess) -> None:
    net = small()
    net.insert(0, ByImage())
    program = CamProgram(net, "10", classes=10)
    report = to_torchscript(Bound(program), tmp_path / "small.pt", IMAGES.repeat(2, 1, 1, 1))
    assert report.dynamic == ()
    assert "static" in str(report)
    check_alone(fresh_process, tmp_path / "small.pt", program, 2)


class Marked(nn.Module):
    """Marks parts of a tensor in place, as Swin's masks are made:
    operators on which torch.jit.trace fails."""

    def forward(self, x: Tensor) -> Tensor:
        mask = x.new_ones(x.shape[-1])
        mask[:3].zero_()
        mask[3:5].fill_(2)
        return x * mask


def test_parts_filled_in_place(tmp_path: Path, fresh_process: FreshProcess) -> None:
    net = small()
    net.insert(0, Marked())
    program = CamProgram(net, "10", classes=10)
    report = to_torchscript(Bound(program), tmp_path / "small.pt", IMAGES)
    assert report.dynamic == ("b",)
    check_alone(fresh_process, tmp_path / "small.pt", program, 3)


class Broken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if float(x.detach().sum()) > 0 else -x


def test_what_has_no_form_at_all(tmp_path: Path) -> None:
    net = small()
    net.insert(0, Broken())
    with pytest.raises(ExportError, match="cannot be traced"):
        to_torchscript(Bound(CamProgram(net, "10", classes=10)), tmp_path / "small.pt", IMAGES)
    assert not list(tmp_path.iterdir())
