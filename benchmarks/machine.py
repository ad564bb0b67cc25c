"""What a figure was measured with: versions and a description of the machine that names nobody's machine."""

from importlib import metadata

import torch

VERSIONED = ("camport", "torch", "torchvision", "onnxruntime", "onnxruntime-gpu", "torchcam", "grad-cam", "captum")


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
