"""Both sides of every comparison: the bare forward pass and the explanation, in PyTorch and in ONNX Runtime."""

import copy
import importlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import camport
from benchmarks.cases import OTHERS, Case, Entry, build, picture
from camport.errors import MethodError
from camport.export import to_onnx
from camport.export.onnx import OPSET

Run = Callable[[], Any]


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
            # on a copy: hooks left on the model would run in the bare pass as well
            layer = case.layer or ""
            return bare, _other(what, copy.deepcopy(model), layer, images, target), layer
        bound = _bound(model, what, case, images)
        return bare, lambda: bound(images, target), ", ".join(bound.layers or ())

    def _onnx(self, case: Case, what: str) -> tuple[Run, Run, str]:
        images = picture(case)
        model = build(case.model)
        with torch.inference_mode():
            target = int(model(images)[0].argmax())
        feeds = {"images": images.numpy()}
        bare = self._session(self._bare_file(case, model), feeds)
        if what == "bare":
            return bare, bare, ""
        bound = _bound(model, what, case, images)
        file = self.folder / f"{case.name}-{what}.onnx"
        if not file.exists():
            to_onnx(bound, file, images)
        explained = {**feeds, "target": torch.tensor([target]).numpy()}
        return bare, self._session(file, explained), ", ".join(bound.layers or ())

    def _bare_file(self, case: Case, model: nn.Module) -> Path:
        """The same weights by plain torch.onnx.export, opset and dynamic batch as the explained one has."""
        file = self.folder / f"{case.model}.onnx"
        if not file.exists():
            torch.onnx.export(
                model,
                (torch.cat([picture(case)] * 2),),
                file,
                input_names=["images"],
                output_names=["outputs"],
                dynamic_shapes=({0: torch.export.Dim("b")},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        return file

    def _session(self, file: Path, feeds: dict[str, Any]) -> Run:
        """One run of the whole file, all its outputs; on a GPU with inputs and outputs that stay there."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        if self.device == "cpu":
            session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
            return lambda: session.run(None, feeds)
        if hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
        session = onnxruntime.InferenceSession(str(file), options, providers=providers)
        if "CUDAExecutionProvider" not in session.get_providers():
            pytest.skip("this ONNX Runtime has no working CUDA provider: install onnxruntime-gpu")
        binding = session.io_binding()
        for name, value in feeds.items():
            binding.bind_ortvalue_input(name, onnxruntime.OrtValue.ortvalue_from_numpy(value, "cuda", 0))
        for output in session.get_outputs():
            binding.bind_output(output.name, "cuda", 0)
        return lambda: session.run_with_iobinding(binding)


def _bound(model: nn.Module, method: str, case: Case, images: Tensor) -> "camport.Bound":
    """The method bound to the model and run once; skips where it does not fit, as CAM behind most heads."""
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
    size = tuple(images.shape[-2:])
    if library == "torchcam":
        extractor = _import("torchcam.methods").GradCAM(model, target_layer=layer)

        def run() -> Any:
            (cam,) = extractor(target, model(images))
            return F.interpolate(cam[None], size, mode="bilinear")

    elif library == "grad-cam":
        cam = _import("pytorch_grad_cam").GradCAM(model=model, target_layers=[model.get_submodule(layer)])
        targets = [_import("pytorch_grad_cam.utils.model_targets").ClassifierOutputTarget(target)]

        def run() -> Any:
            return cam(input_tensor=images, targets=targets)

    else:
        attr = _import("captum.attr")
        method = attr.LayerGradCam(model, model.get_submodule(layer))

        def run() -> Any:
            found = method.attribute(images, target=target, relu_attributions=True)
            return attr.LayerAttribution.interpolate(found, size, interpolate_mode="bilinear")

    run()
    return run


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        pytest.skip(f"{module.split('.')[0]} is not installed")
