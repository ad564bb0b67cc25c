"""Every method of the live registry in a file: equal to eager on images,
targets and a batch size not traced."""

import re
from pathlib import Path

import pytest
import torch

import camport
from camport.errors import MethodError
from camport.export import to_onnx, to_pt2, to_torchscript
from camport.runtime import load
from tests.marks import mostly_rare
from tests.nets import images
from tests.plugins.quick import quiet, setting

METHODS = camport.methods()
EXPORTED = [name for name, info in METHODS.items() if info.exportable]
REFUSED = [name for name, info in METHODS.items() if not info.exportable]

ONE_OF_A_KIND = ("cam", "gradcam", "guided_backprop", "legrad", "saliency", "scorecam")
"""No gradient, a layer's, through ReLUs of another rule, attention's, the image's,
and a loop over masks."""


TARGET = [0, 3, -1, 2, 1]
BOUND = 2e-4


def bound_and_eager(name):
    s = setting(name)
    bound = camport.bind(s.model.float(), s.method, s.layer)
    other = images(len(TARGET), tuple(s.x.shape[2:]), torch.float32, seed=7)
    with quiet():
        return bound, s.x[:2].float(), other, bound(other, torch.tensor(TARGET))


def same(found, wanted):
    found = torch.as_tensor(found)
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= BOUND * float(wanted.abs().max())


@pytest.mark.parametrize("name", mostly_rare(EXPORTED, ONE_OF_A_KIND))
def test_onnx_equals_eager(name: str, tmp_path: Path) -> None:
    bound, traced, other, eager = bound_and_eager(name)
    with quiet():
        report = to_onnx(bound, tmp_path / "method.onnx", traced)
    assert report.dynamic == ("b",)
    explainer = load(tmp_path / "method.onnx")
    result = explainer(other.numpy(), target=TARGET)
    assert float(eager.heatmap.max()) == 1
    same(result.outputs, eager.outputs)
    same(result.score, eager.score)
    same(result.heatmap, eager.heatmap)
    names = {port.name for port in explainer.outputs}
    assert ("feature_maps" in names, "gradients" in names) == (
        bool(eager.activations),
        bool(eager.gradients),
    )
    if eager.activations:
        same(result.feature_maps, eager.activations[0])
    if eager.gradients:
        same(result.gradients, eager.gradients[0])
    alone = explainer(other[:1].numpy(), target=TARGET[:1])
    same(alone.heatmap, eager.heatmap[:1])


@pytest.mark.usefixtures("fresh_process")
@pytest.mark.parametrize("name", mostly_rare(EXPORTED, ("gradcam",)))
def test_pt2_equals_eager(name: str, tmp_path: Path) -> None:
    bound, traced, other, eager = bound_and_eager(name)
    with quiet():
        report = to_pt2(bound, tmp_path / "method.pt2", traced)
    assert report.dynamic == ("b",)
    names = ("outputs", "score", "heatmap")
    results = torch.export.load(tmp_path / "method.pt2").module()(other, torch.tensor(TARGET))
    for wanted, found in zip(names, results, strict=False):
        same(found.detach(), getattr(eager, wanted))


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("write", [to_onnx, to_pt2, to_torchscript])
def test_what_cannot_be_exported_says_why_and_leaves_no_file(
    name: str, write: object, tmp_path: Path
) -> None:
    s = setting(name)
    bound = camport.bind(s.model.float(), s.method, s.layer)
    reason = bound.explainer.not_exportable_because
    assert len(reason) > 20
    with pytest.raises(MethodError, match=re.escape(f"{name} cannot be exported: {reason}")):
        write(bound, tmp_path / "method", s.x.float())
    assert not list(tmp_path.iterdir())
