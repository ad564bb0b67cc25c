"""`SPEC` -> model: which family it names, and handing it to that family's loader."""

import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from camport.core.registry import model_families
from camport.errors import InputError, UnknownNameError
from camport.models import callables
from camport.models.loaded import Loaded

_OTHERS = {
    "package.module:callable": "a function or class without arguments that makes the model",
    "FILE.onnx": "an exported network, rebuilt as torch operations; it needs no --weights",
}


def specs() -> dict[str, str]:
    """Every form of SPEC with its meaning, those of plugins among them."""
    return {
        f"{name}:{family.form}": family.title for name, family in model_families().items()
    } | _OTHERS


def __getattr__(name: str) -> Any:
    if name == "SPECS":  # as of 0.1
        return specs()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def load_model(
    spec: str,
    weights: str | Path | None = None,
    *,
    trust_checkpoint: bool = False,
    image: str | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Loaded:
    """Loads the model that `spec` names.

    Args:
        spec: one of the forms in `specs()`.
        weights: a .safetensors or state-dict file; "none" for random weights; None for the
            published ones, which are downloaded.
        trust_checkpoint: load a checkpoint that holds Python objects, as YOLO packages write them.
            It may run any code.
        image: of an .onnx file with several inputs, the name of the one that takes the images.
        inputs: values of its other inputs by name, e.g. {"im_scale": [1, 1]}; one row holds for
            every image.

    Raises:
        InputError: no form of SPEC, or inputs of what is no .onnx file.
        UnknownNameError: no such family or model; the nearest names are offered.
        ModelError: the model or its weights cannot be loaded.
        MissingDependencyError: the library is not installed.
    """
    file = None if weights in (None, "none") else Path(str(weights))
    if spec.lower().endswith(".onnx"):
        # a family of its own size, and rarely the one that is meant
        from camport.models.onnx import load_onnx

        return load_onnx(spec, file, image=image, inputs=inputs)
    if image is not None or inputs:
        raise InputError(
            f"inputs are given values in an .onnx file, and {spec!r} is none; wrap the model in a"
            " module"
        )
    family, colon, name = spec.partition(":")
    if not colon or not family or not name:
        lacking = _is_file(spec) and not Path(spec).exists()
        raise InputError(
            f"{spec} does not exist; " * lacking
            + f"model {spec!r} is no SPEC; {_meant(spec)}it is one of {', '.join(specs())}"
        )
    pretrained = weights is None
    known = model_families()
    if family in known:
        return known[family]().load(
            name, file, pretrained=pretrained, trust_checkpoint=trust_checkpoint
        )
    if re.fullmatch(r"yolo[-_]?v?\d*\w*", family.lower()):
        raise InputError(
            f"unknown model family {family!r}; YOLOv8 to 12 are loaded by ultralytics:FILE, YOLOv5"
            " by yolov5:FILE, and any other as FILE.onnx"
        )
    if "." not in family and not callables.exists(family):
        also = (
            f"nor can a module {family!r} be imported here, for a model of your own as"
            " package.module:callable"
        )
        raise UnknownNameError("model family", family, known, also)
    return callables.load(family, name, file)


YOLO, TENSORFLOW = (".pt", ".yaml"), (".h5", ".keras", ".pb", ".tflite")
WEIGHTS = (".pt", ".pth", ".safetensors", ".bin", ".ckpt")
"""Suffixes of files that are no SPEC."""


def _is_file(spec: str) -> bool:
    return Path(spec).suffix.lower() in (*YOLO, *TENSORFLOW, *WEIGHTS)


def _meant(spec: str) -> str:
    """What to type for a file of another kind,
    or for a network that was named without its library."""
    suffix = Path(spec).suffix.lower()
    yolo = f"a YOLO checkpoint: ultralytics:{spec} or yolov5:{spec}; " * (suffix in YOLO)
    if suffix in WEIGHTS:
        return f"{yolo}the weights of another: --model torchvision:resnet18 --weights {spec}; "
    if yolo:
        return yolo
    if suffix in TENSORFLOW:
        return f"{suffix} is TensorFlow's: convert it to .onnx, by tf2onnx say, and explain that; "
    with suppress(ImportError):
        from torchvision.models import list_models

        if spec in list_models():
            return f"did you mean torchvision:{spec}? "
    return ""
