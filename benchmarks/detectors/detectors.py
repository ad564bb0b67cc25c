"""Real detectors, each explained, exported and compared:
`python -m benchmarks detectors -o benchmarks/DETECTORS.md`.

Weights are random and batch norm's statistics woken, so boxes mean nothing: what is seen is that
outputs are read, gradients arrive, maps lie in the image, and the exported file says the same. YOLO
packages are used where the environment has them. A line is kept as soon as it is measured, and a
command that was stopped goes on where it was.
"""

import argparse
import json
import sys
import tempfile
import traceback
import warnings
from collections.abc import Sequence
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from benchmarks.detectors.list import DETECTORS, SIZE, detector
from benchmarks.detectors.measure import explained, exported
from camport.errors import CamportError, CamportWarning

HEAD = """\
# Real detectors

`python -m benchmarks detectors`, {versions}; random weights, batch norm's statistics woken, {height} x {width} pixels.
*read as*: the form told from the outputs' structure. *map*: the largest value of ODAM's map of the best candidate.
*gradient*: relative error of the derivative of its class logit with respect to the layers, along a direction, against
central differences in float64. *geometry*: how far a cell of the map comes to lie from its place in the image, which is
the model's own where it resizes and pads inside. *exported*, *parity*: the file, and its heatmap's error against
float64 on boxes, images and batches that were not traced, beside eager PyTorch's.

| detector | read as | layers | map | gradient | geometry | exported | parity (eager) |
| :--- | :--- | :--- | ---: | ---: | ---: | :--- | :--- |
"""
PACKAGES = ("torch", "torchvision", "transformers", "ultralytics", "yolov5")


def measured(name: str, export: bool) -> dict[str, Any]:
    """One line of the table; of what cannot be exported, the reason."""
    model, images = detector(name)
    line = explained(model, images).line()
    if export:
        try:
            with tempfile.TemporaryDirectory() as folder:
                line |= exported(model, images, Path(folder) / "detector.onnx")
        except CamportError as error:
            line["refused"] = _short(error)
    return line


def row(name: str, line: dict[str, Any]) -> str:
    if "failed" in line:
        return f"| {name} | {line['failed']} | | | | | | |"
    layers = ", ".join(line["layers"][:3]) + (", ..." if len(line["layers"]) > 3 else "")
    told = f"| {name} | {line['form']} | `{layers}` | {line['largest']:.1e} "
    told += f"| {line['gradient']:.0e} | {line['geometry']:.2f} px "
    if "error" not in line:
        return told + f"| {line.get('refused', '')} | |"
    return (
        told + f"| {line['mb']:.1f} MB, {line['seconds']} s | {line['error']:.0e}"
        f" ({line['eager']:.0e}) |"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks detectors", description=__doc__)
    parser.add_argument("--only", default="", help="detectors with this in their name")
    parser.add_argument("--no-export", action="store_true", help="explain only")
    parser.add_argument(
        "--state", type=Path, default=Path("detectors.json"), help="lines that are measured already"
    )
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; otherwise printed")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore", CamportWarning)
    state: dict[str, Any] = json.loads(given.state.read_text()) if given.state.is_file() else {}
    for name, (package, _) in DETECTORS.items():
        if given.only not in name or name in state or find_spec(package) is None:
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            state[name] = measured(name, not given.no_export)
        except Exception as error:  # whatever a package raises: the other lines are wanted too
            traceback.print_exc()
            state[name] = {"failed": f"{type(error).__name__}: {_short(error)}"}
        given.state.write_text(json.dumps(state, indent=1))
    told = ", ".join(
        f"{name} {metadata.version(name)}" for name in PACKAGES if find_spec(name) is not None
    )
    head = HEAD.format(versions=told, height=SIZE[0], width=SIZE[1])
    text = head + "\n".join(row(name, state[name]) for name in DETECTORS if name in state) + "\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300].replace("|", "/")
