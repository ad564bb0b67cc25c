"""Real detectors, each explained, exported and compared: `python -m benchmarks.detectors -o benchmarks/DETECTORS.md`.

Weights are random and batch norm's statistics woken, so boxes mean nothing: what is seen is that outputs are read,
gradients arrive, maps lie in the image, and the exported file says the same. YOLO packages are used where the
environment has them. A line is kept as soon as it is measured, and a command that was stopped goes on where it was.
"""

import argparse
import json
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import camport
from benchmarks.machine import versions
from camport.adapters import DetectionAdapter
from camport.errors import CamportError, CamportWarning
from camport.export import to_onnx
from camport.models import load_model

SIZE = (128, 160)
SMALL = {"min_size": 128, "max_size": 192}
TORCHVISION: dict[str, dict[str, Any]] = {
    "ssdlite320_mobilenet_v3_large": {},
    "retinanet_resnet50_fpn": SMALL,
    "fcos_resnet50_fpn": SMALL,
    "fasterrcnn_resnet50_fpn": SMALL,
    "maskrcnn_resnet50_fpn": SMALL,
}
HEAD = """\
# Real detectors

`python -m benchmarks.detectors`, {versions}; random weights, batch norm's statistics woken, {height} x {width} pixels.
*read as*: the form told from the outputs' structure. *map*: the largest value of ODAM's map of the best candidate.
*parity*: the exported heatmap's error against float64 on inputs that were not traced, and eager PyTorch's.

| detector | read as | layers | map | exported | parity (eager) |
| :--- | :--- | :--- | ---: | :--- | :--- |
"""


def yolo(spec: str) -> Callable[[], nn.Module]:
    return lambda: load_model(spec).model


def torchvision(name: str) -> Callable[[], nn.Module]:
    def made() -> nn.Module:
        from torchvision.models import detection

        return getattr(detection, name)(weights=None, weights_backbone=None, num_classes=11, **TORCHVISION[name])

    return made


def detr() -> nn.Module:
    from transformers import DetrConfig, DetrForObjectDetection, ResNetConfig

    backbone = ResNetConfig(embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], layer_type="basic")
    backbone.out_features = ["stage4"]
    sides = {"encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "encoder_attention_heads": 4, "decoder_attention_heads": 4}
    config = DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone=None,
        backbone_config=backbone,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        num_queries=20,
        num_labels=10,
        **sides,
    )
    return DetrForObjectDetection(config)


def yolos() -> nn.Module:
    from transformers import YolosConfig, YolosForObjectDetection

    sides = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
    config = YolosConfig(image_size=list(SIZE), patch_size=16, num_detection_tokens=20, num_labels=10, **sides)
    config.use_mid_position_embeddings = False
    return YolosForObjectDetection(config)


DETECTORS: dict[str, tuple[str, Callable[[], nn.Module]]] = {
    "yolov5: yolov5n": ("yolov5", yolo("yolov5:yolov5n.yaml")),
    **{
        f"ultralytics: {name}": ("ultralytics", yolo(f"ultralytics:{name}.yaml"))
        for name in ("yolov5n", "yolov8n", "yolo11n", "yolov10n", "rtdetr-l", "yolov8n-seg")
    },
    **{f"torchvision: {name}": ("torchvision", torchvision(name)) for name in TORCHVISION},
    "transformers: DETR": ("transformers", detr),
    "transformers: YOLOS": ("transformers", yolos),
}
"""Name -> the package it needs, and what makes it."""


def awake(model: nn.Module, images: Tensor) -> nn.Module:
    """Batch norm's statistics as training leaves them, and weights large enough for values to differ."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = 0.1 * torch.randn(module.num_features, generator=generator)
            module.running_var = 0.5 + torch.rand(module.num_features, generator=generator)
    return model.eval()


def measured(make: Callable[[], nn.Module], export: bool) -> dict[str, Any]:
    """One line of the table."""
    torch.manual_seed(0)
    images = torch.rand(2, 3, *SIZE, generator=torch.Generator().manual_seed(1))
    model = awake(make(), images)
    bound = camport.bind(model, adapter=DetectionAdapter(threshold=0.0, most=1))
    found = bound(images[:1])
    line: dict[str, Any] = {
        "form": bound.adapter.form.format,
        "layers": list(bound.layers or ()),
        "largest": float(found.raw.max()),
        "map": list(found.heatmap.shape[1:]),
    }
    if not export:
        return line
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        report = to_onnx(bound, Path(folder) / "detector.onnx", images)
    parity = report.parity["heatmap"]
    line.update(
        seconds=round(time.perf_counter() - start), mb=report.bytes / 1e6, error=parity.exported, eager=parity.eager
    )
    return line


def row(name: str, line: dict[str, Any]) -> str:
    if "failed" in line:
        return f"| {name} | {line['failed']} | | | | |"
    layers = ", ".join(line["layers"][:3]) + (", ..." if len(line["layers"]) > 3 else "")
    exported = f"{line['mb']:.1f} MB, {line['seconds']} s" if "mb" in line else line.get("refused", "")
    parity = f"{line['error']:.0e} ({line['eager']:.0e})" if "error" in line else ""
    return f"| {name} | {line['form']} | `{layers}` | {line['largest']:.1e} | {exported} | {parity} |"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.detectors", description=__doc__)
    parser.add_argument("--only", default="", help="detectors with this in their name")
    parser.add_argument("--no-export", action="store_true", help="explain only")
    parser.add_argument("--state", type=Path, default=Path("detectors.json"), help="lines that are measured already")
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; otherwise printed")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CamportWarning)
    state: dict[str, Any] = json.loads(given.state.read_text()) if given.state.is_file() else {}
    for name, (package, make) in DETECTORS.items():
        if given.only not in name or name in state or find_spec(package) is None:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            state[name] = measured(make, export=False)
            if not given.no_export:
                state[name] |= measured(make, export=True)
        except CamportError as error:
            said = " ".join(str(error).split())[:200]
            state[name] = {**state.get(name, {}), **({"refused": said} if name in state else {"failed": said})}
        except Exception:  # whatever a package raises: the other lines are wanted too
            state[name] = {"failed": traceback.format_exc().strip().splitlines()[-1][:200]}
        given.state.write_text(json.dumps(state, indent=1))
    told = ", ".join(f"{name} {version}" for name, version in versions().items() if name in ("torch", "torchvision"))
    head = HEAD.format(versions=told, height=SIZE[0], width=SIZE[1])
    text = head + "\n".join(row(name, state[name]) for name in DETECTORS if name in state) + "\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
