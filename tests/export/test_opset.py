"""Versions of the standard operators."""

from pathlib import Path

import onnx
import pytest
import torch
from programs import IMAGES, Bound, CamProgram, randomise, small
from torch import nn

from camport.errors import ExportError
from camport.export import to_onnx
from camport.export.onnx_file.from_graph import OPSETS
from tests.marks import mostly_rare


def many_forms() -> nn.Module:
    """Has what is written differently from version to version: GELU, group and layer norm, SiLU,
    resizing."""
    torch.manual_seed(0)
    return randomise(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.GroupNorm(2, 8),
            nn.GELU(),
            nn.Conv2d(8, 8, 1, 2),
            nn.SiLU(),
            nn.Upsample(scale_factor=2, mode="bilinear"),
            nn.Hardswish(),
            nn.AvgPool2d(2, ceil_mode=True),
            nn.AdaptiveAvgPool2d(3),
            nn.Flatten(),
            nn.LayerNorm(72),
            nn.Linear(72, 10),
            nn.ReLU(),
        )
    )


@pytest.mark.parametrize(
    "opset",
    mostly_rare(OPSETS, (18,)),
)
def test_every_version(tmp_path: Path, opset: int) -> None:
    net, layer = (many_forms(), "1") if opset != 20 else (small(), "2")
    report = to_onnx(
        Bound(CamProgram(net, layer, classes=10)), tmp_path / "a.onnx", IMAGES, opset=opset
    )
    model = onnx.load(tmp_path / "a.onnx")
    assert {o.domain: o.version for o in model.opset_import} == {"": opset}
    assert report.opset == opset
    newest = {
        n.op_type: onnx.defs.get_schema(n.op_type, opset).since_version for n in model.graph.node
    }
    assert max(newest.values()) <= opset
    assert all(parity.holds for parity in report.parity.values())


@pytest.mark.parametrize("opset", [17, 24, 0, -1])
def test_other_versions_are_refused_before_tracing(tmp_path: Path, opset: int) -> None:
    with pytest.raises(
        ExportError, match=rf"opset is {opset}; it can be 18 to 23, and 20 if left out"
    ):
        to_onnx(Bound(None), tmp_path / "a.onnx", IMAGES, opset=opset)
