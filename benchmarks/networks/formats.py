"""Networks in PyTorch's own two formats: `python -m benchmarks formats -o benchmarks/FORMATS.md`.

Grad-CAM at the last layer, each export in a process of its own; the file is compared with PyTorch
in another.
"""

import argparse
import datetime
import multiprocessing
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch

import camport
from benchmarks.networks.list import Network, build, named
from camport.bench.machine import versions
from camport.export import to_pt2, to_torchscript

FORMATS = {"pt2": to_pt2, "pt": to_torchscript}
CHOSEN = (
    "vgg16,resnet50,densenet121,googlenet,inception_v3,mobilenet_v3_large,shufflenet*,efficientnet_b0,regnet_y*,"
    "convnext_tiny,swin_t,swin_v2_t,vit_b_16,maxvit_t,timm/*"
)
HEAD = """\
# Networks in PyTorch's own formats

{date}. {versions}.

`python -m benchmarks formats` exports Grad-CAM at the last layer of each network to .pt2 (`torch.export.load`) and to
TorchScript (`torch.jit.load`), and runs each file by PyTorch alone, in a fresh process, on images, targets and a batch
that were not traced. **heatmap**: relative l2 error of the file's against float64; in brackets that of eager PyTorch in
float32. **free**: axes of the images whose size the file leaves open. Random weights.

| network | format | free | heatmap | MB | over the weights | seconds |
| :--- | :--- | :--- | ---: | ---: | ---: | ---: |
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 where a network does not export."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks formats", description=__doc__)
    parser.add_argument(
        "--only", default=CHOSEN, help="networks: patterns separated by commas, 'timm/*,resnet50'"
    )
    parser.add_argument("-o", "--output", type=Path, help="a Markdown file; printed otherwise")
    given = parser.parse_args(arguments)
    lines, failed = [], False
    for network in named(given.only):
        for suffix in FORMATS:
            try:
                with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                    lines.append(pool.submit(line, network, suffix).result())
            except Exception as error:  # whatever a network does, the others are still wanted
                reason = (str(error).strip() or "no reason given").splitlines()[0].replace("|", "/")
                lines.append(
                    f"| {network.name} | .{suffix} | {type(error).__name__}: {reason} |  |  |  |  |"
                )
                failed = True
            print(lines[-1], file=sys.stderr, flush=True)
    known = {k: v for k, v in versions().items() if k in ("camport", "torch", "torchvision")}
    shown = ", ".join(f"{name} {version}" for name, version in known.items())
    text = HEAD.format(date=datetime.date.today(), versions=shown) + "\n".join(lines) + "\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text)
    return int(failed)


def line(network: Network, suffix: str) -> str:
    """One row of the table."""
    torch.set_num_threads(1)
    model = build(network)
    weights = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    images = torch.randn(
        2, 3, network.size, network.size, generator=torch.Generator().manual_seed(1)
    )
    with tempfile.TemporaryDirectory() as folder:
        bound = camport.bind(model, "gradcam", network.last)
        report = FORMATS[suffix](bound, Path(folder) / f"explained.{suffix}", images)
    heatmap = report.parity["heatmap"]
    cells = (
        network.name,
        f".{suffix}",
        " ".join(report.dynamic) or "none",
        f"{heatmap.exported:.1e} ({heatmap.eager:.1e})",
        f"{report.bytes / 1e6:.1f}",
        f"{report.bytes / weights:.3f}",
        f"{report.seconds:.0f}",
    )
    return f"| {' | '.join(cells)} |"
