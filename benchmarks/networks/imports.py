"""Networks that came back from .onnx files:
`python -m benchmarks imports -o benchmarks/IMPORTS.md`.

Each network is exported by both of PyTorch's exporters, read again by camport's importer,
explained, and exported with its explanation. `--files FOLDER` adds files that were made elsewhere:
`NAME.onnx` beside `NAME.npz`, which holds `images`, the original's `outputs`, `weights` of the same
shape, and `gradients`, those of sum(outputs * weights) with respect to the images;
`benchmarks/detectors/yolo_files.py` makes such pairs where the YOLO packages are installed.
"""

import argparse
import copy
import datetime
import json
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

import camport
from benchmarks.networks.list import NETWORKS, build
from camport.bench.machine import versions
from camport.errors import CamportError
from camport.export import to_onnx
from camport.models.onnx import load_onnx

NAMES = ("resnet50", "mobilenet_v3_large", "efficientnet_b0", "convnext_tiny", "vit_b_16")
EXPORTERS = {"dynamo": True, "torchscript": False}
Row = dict[str, Any]

HEAD = """\
# Networks that came back from .onnx files

{date}. {versions}.

`python -m benchmarks imports -o benchmarks/IMPORTS.md` exports each network by both of PyTorch's exporters, reads the
file by camport's importer and compares it with the original; `--files FOLDER` adds files made elsewhere
(`benchmarks/detectors/yolo_files.py`). Random weights, awake batch-norm statistics. Errors are relative l2.

- **outputs**: of the imported network against ONNX Runtime on the file.
- **gradients**: with respect to the image, against the original network in PyTorch; both in float64 for the networks
  of torchvision, in float32 for files made elsewhere. Where it is not nearly 0, the exporter folded batch norms into
  weights that it rounded to float32, and of so many ReLUs and Hardswishes some take the other side.
- **heatmap**: Grad-CAM of the imported network against that of the original at the same layer.
- **exported**: the heatmap of the file that camport wrote for the imported network, against float64; "-" where the
  network is no classifier, and only its outputs and gradients are compared.
"""
COLUMNS = (
    "network",
    "exporter",
    "nodes",
    "outputs",
    "gradients",
    "heatmap",
    "exported",
    "seconds to read",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks imports", description=__doc__)
    parser.add_argument("--files", type=Path, help="a folder of NAME.onnx and NAME.npz")
    parser.add_argument(
        "--json", type=Path, help="rows measured so far are kept here and not measured again"
    )
    parser.add_argument("-o", "--output", type=Path, help="a Markdown file; printed otherwise")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    rows: list[Row] = (
        json.loads(given.json.read_text()) if given.json and given.json.is_file() else []
    )
    with tempfile.TemporaryDirectory() as scratch:
        for name, exporter in [(n, e) for n in NAMES for e in EXPORTERS]:
            if not any((row["name"], row["exporter"]) == (name, exporter) for row in rows):
                rows.append(_kept(name, exporter, Path(scratch)))
                _store(rows, given.json)
    for path in sorted(given.files.glob("*.onnx")) if given.files else ():
        if not any(row["name"] == path.stem for row in rows):
            rows.append(_foreign(path))
            _store(rows, given.json)
    shown = ", ".join(
        f"{k} {v}" for k, v in versions().items() if k in ("camport", "torch", "onnxruntime")
    )
    text = (
        HEAD.format(date=datetime.date.today(), versions=shown)
        + "\n"
        + "\n".join(_table(rows))
        + "\n"
    )
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text)


def _kept(name: str, exporter: str, folder: Path) -> Row:
    """A network of torchvision, through a file and back."""
    network = next(n for n in NETWORKS if n.name == f"torchvision/{name}")
    model, path = build(network), folder / f"{name}-{exporter}.onnx"
    images = torch.randn(
        2, 3, network.size, network.size, generator=torch.Generator().manual_seed(1)
    )
    options: dict[str, Any] = {"dynamic_axes": {"images": {0: "b"}}}
    if exporter == "dynamo":
        options = {"dynamic_shapes": ({0: torch.export.Dim("b")},), "verbose": False}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (images,),
            path,
            input_names=["images"],
            dynamo=EXPORTERS[exporter],
            external_data=False,
            **options,
        )
    outputs = model(images).detach()
    weights = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(2))
    wide = _slope(copy.deepcopy(model).double(), images.double(), weights.double())
    row: Row = {"name": name, "exporter": exporter, **_compared(path, images, weights, wide)}
    if "error" in row:
        return row
    imported = load_onnx(path)
    layer = _as_imported(imported.model, network.last)
    original = camport.explain(model, images, "gradcam", layer=network.last)
    got = camport.explain(path, images, "gradcam", layer=layer)
    row["heatmap"] = _error(got.heatmap, original.heatmap)
    try:
        report = to_onnx(
            camport.bind(path, "gradcam", layer=layer), folder / "explained.onnx", images[:1]
        )
        row["exported"] = report.parity["heatmap"].exported
    except CamportError as error:
        row["error"] = f"{type(error).__name__}: {error}"
    return row


def _as_imported(model: Any, layer: str) -> str | None:
    """The module's name if the file tells it, else None: the layer is chosen."""
    return layer if layer in model.layer_aliases else None


def _foreign(path: Path) -> Row:
    """A file made elsewhere."""
    with np.load(path.with_suffix(".npz")) as stored:
        images, weights, gradients = (
            torch.from_numpy(stored[k]) for k in ("images", "weights", "gradients")
        )
    return {
        "name": path.stem,
        "exporter": "the package's own",
        **_compared(path, images, weights, gradients),
    }


def _compared(path: Path, images: Tensor, weights: Tensor, gradients: Tensor) -> Row:
    start = time.perf_counter()
    try:
        model: Any = load_onnx(path).model
    except CamportError as error:
        return {"error": f"{type(error).__name__}: {error}"}
    seconds = time.perf_counter() - start
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    wanted = session.run(None, {session.get_inputs()[0].name: images.numpy()})[0]
    got, kind = _first(model(images)).detach(), gradients.dtype
    return {
        "nodes": len(model.plan.steps),
        "outputs": _error(got, torch.from_numpy(wanted)),
        "gradients": _error(_slope(model.to(kind), images.to(kind), weights.to(kind)), gradients),
        "seconds": seconds,
    }


def _slope(model: torch.nn.Module, images: Tensor, weights: Tensor) -> Tensor:
    x = images.clone().requires_grad_()
    (found,) = torch.autograd.grad((_first(model(x)) * weights).sum(), x)
    return found


def _first(outputs: Any) -> Tensor:
    return next(v for v in tree_leaves(outputs) if isinstance(v, Tensor))


def _error(got: Tensor, wanted: Tensor) -> float:
    return float((got - wanted).norm() / wanted.norm())


def _store(rows: list[Row], path: Path | None) -> None:
    print(json.dumps(rows[-1]), flush=True)
    if path:
        path.write_text(json.dumps(rows, indent=1))


def _table(rows: list[Row]) -> Iterator[str]:
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "| :--- | :--- |" + " ---: |" * (len(COLUMNS) - 2)
    for row in rows:
        figures = [
            f"{row[k]:.1e}" if k in row else "-"
            for k in ("outputs", "gradients", "heatmap", "exported")
        ]
        seconds = f"{row['seconds']:.1f}" if "seconds" in row else row["error"].replace("|", "/")
        yield (
            f"| {row['name']} | {row['exporter']} | {row.get('nodes', '-')} | {' | '.join(figures)}"
            f" | {seconds} |"
        )
