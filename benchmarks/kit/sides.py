"""Both sides of every comparison: the bare forward pass and the explanation,
in PyTorch and in ONNX Runtime."""

import copy
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import camport
from benchmarks.kit.cases import OTHERS, Case, Entry, build, picture
from camport.bench.onnx_files import Run, bare_file, session_run
from camport.bench.peers import Peers
from camport.errors import MethodError, MissingDependencyError, ModelError
from camport.export import to_onnx
from camport.plugins import GradCAM


@dataclass
class Sides:
    """Makes the runs of an entry.

    Attributes:
        folder: where exported files are kept, so that each is made once in one session.
        device: "cpu" or "cuda".
        threads: of PyTorch and, within an operator, of ONNX Runtime.
    """

    folder: Path
    device: str
    threads: int

    def pair(self, entry: Entry) -> tuple[Run, Run, str]:
        """The bare pass, the subject, and the layer that is explained ("" for the bare pass)."""
        make = self._torch if entry.engine == "torch" else self._onnx
        return make(entry.case, entry.what)

    def synchronize(self) -> None:
        """Waits for the device."""
        if self.device == "cuda":
            torch.cuda.synchronize()

    def _torch(self, case: Case, what: str) -> tuple[Run, Run, str]:
        model = copy.deepcopy(build(case.model)).to(self.device)
        images = picture(case).to(self.device)

        def bare() -> Tensor:
            with torch.inference_mode():
                return model(images)

        target = int(bare()[0].argmax())
        if what == "bare":
            return bare, bare, ""
        if what in OTHERS:
            layer = case.layer or ""
            return bare, _other(what, model, layer, images, target), layer
        bound = _bound(model, what, case, images)
        return bare, lambda: bound(images, target), ", ".join(bound.layers or ())

    def _onnx(self, case: Case, what: str) -> tuple[Run, Run, str]:
        images = picture(case)
        model = build(case.model)
        with torch.inference_mode():
            target = int(model(images)[0].argmax())
        feeds = {"images": images.numpy()}
        bare = self._session(bare_file(model, images, self.folder / f"{case.model}.onnx"), feeds)
        if what == "bare":
            return bare, bare, ""
        bound = _bound(model, what, case, images)
        file = self.folder / f"{case.name}-{what}.onnx"
        if not file.exists():
            to_onnx(bound, file, images)
        explained = {**feeds, "target": torch.tensor([target]).numpy()}
        return bare, self._session(file, explained), ", ".join(bound.layers or ())

    def _session(self, file: Path, feeds: dict[str, Any]) -> Run:
        try:
            return session_run(file, feeds, self.device, self.threads)
        except ModelError as error:
            pytest.skip(str(error))


def _bound(model: nn.Module, method: str, case: Case, images: Tensor) -> "camport.Bound":
    """The method bound to the model and run once; skips where it does not fit,
    as CAM behind most heads."""
    bound = camport.bind(model, method, layer=case.layer)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", camport.CamportWarning)
            bound(images)
    except MethodError as error:
        pytest.skip(str(error))
    return bound


def _other(library: str, model: nn.Module, layer: str, images: Tensor, target: int) -> Run:
    """Another library's Grad-CAM, used as its manual says, to a heatmap of the image's size."""
    try:
        return Peers(model, GradCAM(), layer, images, target).run(library)
    except MissingDependencyError as error:
        pytest.skip(str(error))
