"""Files of YOLO networks with what they must give, for
`benchmarks.networks.imports --files FOLDER`.

Run it by itself in an environment that has the package, which its users bring, and torch with onnx:

    python benchmarks/detectors/yolo_files.py ultralytics FOLDER yolov8n.yaml yolo11n.yaml
    python benchmarks/detectors/yolo_files.py yolov5 FOLDER yolov5n.yaml

Weights are random and batch-norm statistics those of noise. Nothing of camport is imported.
"""

import importlib
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Prediction(nn.Module):
    """The network's first output alone: what its own exporters write."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor) -> Tensor:
        """The candidates."""
        outputs = self.model(images)
        return outputs if isinstance(outputs, Tensor) else outputs[0]


def main() -> None:
    """The command."""
    package, folder, *configs = sys.argv[1:]
    Path(folder).mkdir(parents=True, exist_ok=True)
    for config in configs:
        torch.manual_seed(0)
        model = _built(package, config)
        images = torch.rand(1, 3, 128, 128)
        model.train()
        for part in model.modules():
            if isinstance(part, nn.BatchNorm2d):
                part.reset_running_stats()
                part.momentum = None
        with torch.no_grad():
            for _ in range(4):
                model(torch.rand(4, 3, 128, 128))
        head = Prediction(model.eval())
        for part in model.modules():
            if hasattr(part, "export"):
                part.export = True
        head(images)  # anchors are made before the trace
        x = images.clone().requires_grad_()
        outputs = head(x)
        weights = torch.randn(outputs.shape)
        (gradients,) = torch.autograd.grad((outputs * weights).sum(), x)
        path = Path(folder) / f"{Path(config).stem}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                head, (images,), path, dynamo=False, opset_version=17, input_names=["images"]
            )
        arrays = {"images": images, "outputs": outputs, "weights": weights, "gradients": gradients}
        np.savez(
            path.with_suffix(".npz"),
            **{name: value.detach().numpy() for name, value in arrays.items()},
        )
        print(path, tuple(outputs.shape))


def _built(package: str, config: str) -> Any:
    if package == "yolov5":
        yolo = importlib.import_module("yolov5.models.yolo")
        return yolo.DetectionModel(Path(str(yolo.__file__)).parent / config)
    return importlib.import_module("ultralytics.nn.tasks").DetectionModel(config, verbose=False)


if __name__ == "__main__":
    main()
