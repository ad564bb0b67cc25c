"""Rules on export: one recipe for eager PyTorch, the traced graph and the ONNX file."""

import copy
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from camport.core.bound import Bound
from camport.errors import ExportError, MethodError
from camport.testing.case import Case, quiet
from camport.testing.conformance import Judge


def pure_function(case: Case) -> None:
    """As a function of tensors, which is what gets traced,
    the explainer gives what it gives when called."""
    if not case.explainer.exportable:
        return
    bound = case.bound()
    with quiet():
        eager = bound(case.images, case.target)
        program = bound.program(case.images)
        inputs = {"images": case.images, **case.adapter.prepare(case.target, case.images)}
        traced = program(program.state, inputs)
    for name, expected in (("heatmap", eager.heatmap), ("score", eager.score)):
        case.judge.demand(
            case.same(traced[name].to(expected.dtype), expected),
            f"{name} is another one where check() did not run before; saliency must not depend"
            " on it",
        )


def onnx_file(case: Case) -> None:
    """The traced graph and the ONNX file give what eager PyTorch gives,
    for inputs and batches that were not traced."""
    if not case.explainer.exportable:
        return
    check_onnx(case.judge, case.bound(single_precision(case.network.model)), case.images.float())


def check_onnx(judge: Judge, bound: Bound, images: torch.Tensor, target: Any = None) -> None:
    """Exports and lets the export's own comparison judge."""
    from camport.export.writing.to_onnx import to_onnx

    with tempfile.TemporaryDirectory() as folder, quiet():
        path = Path(folder) / "explainer.onnx"
        try:
            to_onnx(bound, path, images, target)
        except ExportError as error:
            judge.fail(
                f"{type(error).__name__}: {error}. saliency is out-of-place tensor maths without"
                " .item(), numpy or branches on values; or declare exportable = False and"
                " not_exportable_because"
            )
        judge.demand(path.is_file(), "the export reported success and left no file")


def refused_export(case: Case) -> None:
    """An explainer that is not exportable says why."""
    if case.explainer.exportable:
        return
    try:
        case.bound().program(case.images)
    except MethodError as error:
        said = case.explainer.not_exportable_because in str(error)
        case.judge.demand(said, f"the refusal does not say why: {error}")
        return
    case.judge.fail("exportable is False, and yet it can be exported")


def single_precision(model: nn.Module) -> nn.Module:
    """A copy in float32, which is what exported files compute in."""
    return copy.deepcopy(model).float()
