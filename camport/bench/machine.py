"""What a figure was measured with: versions and a description of the machine that names nobody's
machine."""

from importlib import metadata
from pathlib import Path
from typing import Any

import torch

VERSIONED = (
    "camport",
    "torch",
    "torchvision",
    "onnxruntime",
    "onnxruntime-gpu",
    "torchcam",
    "grad-cam",
    "captum",
)


def versions() -> dict[str, str]:
    """Of what is installed among the packages that matter here."""
    found = {}
    for name in VERSIONED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def device_line(device: str, cpu: str, threads: int) -> str:
    """The device in words."""
    host = f"{cpu}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{torch.cuda.get_device_name()}; {host}" if device == "cuda" else host


def session_of(file: Path) -> Any:
    """The file in ONNX Runtime on the CPU, with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
