"""What is measured of one network: its two exports, and what they cost beside the bare file."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import Tensor

import camport
from benchmarks.networks.list import Logits, Network, build
from camport.bench.machine import session_of
from camport.bench.timing import interleave
from camport.errors import CamportError
from camport.export import to_onnx
from camport.export.onnx_file.from_graph import OPSET

Row = dict[str, Any]


def exported(network: Network, folder: Path) -> list[Row]:
    """Exports Grad-CAM at both layers; a row for each,
    with `error` in place of figures where that failed."""
    torch.set_num_threads(1)
    bare = bare_file(network, folder)
    nodes = len(onnx.load(bare, load_external_data=False).graph.node)
    rows = []
    for layer in network.layers:
        row: Row = {"name": network.name, "layer": layer}
        try:
            report = to_onnx(
                _bound(network, layer), _file(network, layer, folder), _images(network)
            )
        except CamportError as error:
            rows.append({**row, "error": f"{type(error).__name__}: {error}"})
            continue
        row.update(
            {
                f"{output}_{side}": getattr(report.parity[output], side)
                for output in ("heatmap", "gradients")
                for side in ("exported", "eager")
            }
        )
        row.update(lowered=report.lowered, nodes=report.nodes, bare_nodes=nodes, bytes=report.bytes)
        row.update(bare_bytes=bare.stat().st_size, seconds=report.seconds)
        rows.append(row)
    return rows


def timed(network: Network, layer: str, folder: Path, seconds: float) -> Row:
    """The ratio of CPU times of the explained file over the bare one, on one thread,
    taking turns."""
    torch.set_num_threads(1)
    explained = _file(network, layer, folder)
    if not explained.exists():
        to_onnx(_bound(network, layer), explained, _images(network))
    images = _images(network).numpy()
    bare = _session(bare_file(network, folder), {"images": images})
    subject = _session(explained, {"images": images, "target": torch.tensor([-1]).numpy()})
    found = interleave(_Rounds(), bare, subject, lambda: None, seconds)
    kept = ("ratio_cpu", "ratio_cpu_quartiles", "bare_cpu_ms", "cpu_ms", "rounds")
    return {key: found[key] for key in kept}


def bare_file(network: Network, folder: Path) -> Path:
    """The same weights by plain torch.onnx.export,
    opset and dynamic batch as the explained file has.

    By PyTorch's older exporter where the newer one refuses the model, as it does the Swin of
    transformers.
    """
    file = folder / f"{_stem(network)}.onnx"
    if not file.exists():
        model = build(network)
        model = Logits(model) if network.name.startswith("transformers/") else model
        names: dict[str, Any] = {
            "input_names": ["images"],
            "output_names": ["outputs"],
            "opset_version": OPSET,
        }
        newer: dict[str, Any] = {
            "dynamic_shapes": ({0: torch.export.Dim("b")},),
            "external_data": False,
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            images = (torch.cat([_images(network)] * 2),)
            try:
                torch.onnx.export(model, images, file, dynamo=True, verbose=False, **names, **newer)
            except torch.onnx.OnnxExporterError:
                torch.onnx.export(
                    model, images, file, dynamo=False, dynamic_axes={"images": {0: "b"}}, **names
                )
    return file


def _bound(network: Network, layer: str) -> camport.Bound:
    return camport.bind(build(network), "gradcam", layer=layer)


def _images(network: Network) -> Tensor:
    return torch.randn(1, 3, network.size, network.size, generator=torch.Generator().manual_seed(1))


def _file(network: Network, layer: str, folder: Path) -> Path:
    return folder / f"{_stem(network)}-{layer}.onnx"


def _stem(network: Network) -> str:
    return network.name.replace("/", "-")


def _session(file: Path, feeds: dict[str, Any]) -> Callable[[], Any]:
    session = session_of(file)
    return lambda: session.run(None, feeds)


class _Rounds:
    """What `interleave` wants of pytest-benchmark's fixture: so many rounds,
    each after its set-up."""

    def pedantic(self, subject: Callable[[], Any], setup: Callable[[], Any], rounds: int) -> None:
        for _ in range(rounds):
            setup()
            subject()
