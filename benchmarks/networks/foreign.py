"""Trained .onnx files of other people:
`python -m benchmarks foreign --site FOLDER -o benchmarks/FOREIGN.md`.

The files are those of packages in the index (`foreign_list.py`); packages that are not in FOLDER
yet are installed there, without what they depend on. Nothing of theirs is run: the files alone are
read.
"""

import argparse
import datetime
import json
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

import camport
from benchmarks.networks.foreign_list import FILES, Foreign
from benchmarks.networks.foreign_slopes import Score, freed, grad_cam, session_of, with_output
from camport.adapters import ClassificationAdapter, DetectionAdapter, FunctionAdapter
from camport.bench.machine import versions
from camport.errors import CamportError, CamportWarning
from camport.export import to_onnx
from camport.models import Loaded, load_model
from camport.runtime import open_image

Row = dict[str, Any]
LINKS = ("Softmax", "Sigmoid", "LogSoftmax")
PASSING = ("Identity", "Reshape", "Squeeze", "Flatten", "Cast")
EVERY_DETECTOR = "gradcam averages gradients over all places"
"""How the doubt begins that Grad-CAM leaves of any detector's map;
element-wise methods have none to compare."""

HEAD = """\
# Trained .onnx files of other people

{date}. {versions}.

`python -m benchmarks foreign --site FOLDER -o benchmarks/FOREIGN.md` takes {count} files out of packages of the index
(`networks/foreign_list.py`), reads them by camport's importer, explains one of the demo's pictures at the layer that
camport chooses, and exports the explanation. Errors are relative l2.

- **outputs**: of the imported network against ONNX Runtime on the file.
- **explained**: the class, or for tasks without classes what of the outputs.
- **map**: Grad-CAM by camport against the same by ONNX Runtime alone: the file is cut at the layer, and each channel of
  its maps is moved up and down (`networks/foreign_slopes.py`). A small step leaves float32's rounding in such a
  difference and a large one the ReLUs that turn, so that three are tried and the nearest stands here. Where no
  gradient gets through and Eigen-CAM is taken, the layer's maps themselves.
- **exported**: the heatmap of the file that camport wrote, in ONNX Runtime, against PyTorch in float64.
"""
COLUMNS = (
    "file",
    "package",
    "made by",
    "nodes",
    "outputs",
    "layer",
    "explained",
    "map",
    "exported",
    "remarks",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks foreign", description=__doc__)
    parser.add_argument(
        "--site", type=Path, required=True, help="the folder that the packages are installed in"
    )
    parser.add_argument("--only", nargs="*", help="names of files; all if left out")
    parser.add_argument(
        "--no-export", action="store_true", help="leave the exports out, which take minutes each"
    )
    parser.add_argument(
        "--json", type=Path, help="rows measured so far are kept here and not measured again"
    )
    parser.add_argument("-o", "--output", type=Path, help="a Markdown file; printed otherwise")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    chosen = [file for file in FILES if not given.only or file.name in given.only]
    _install(
        {file.package for file in chosen if not (given.site / file.place).is_file()}, given.site
    )
    rows: list[Row] = (
        json.loads(given.json.read_text()) if given.json and given.json.is_file() else []
    )
    for file in chosen:
        if not any(row["file"] == file.name for row in rows):
            rows.append(_row(file, given.site / file.place, export=not given.no_export))
            print(json.dumps(rows[-1]), flush=True)
            if given.json:
                given.json.write_text(json.dumps(rows, indent=1))
    shown = ", ".join(
        f"{k} {v}" for k, v in versions().items() if k in ("camport", "torch", "onnxruntime")
    )
    head = HEAD.format(date=datetime.date.today(), versions=shown, count=len(rows))
    text = head + "\n" + "\n".join(_table(rows)) + "\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    else:
        print(text)


def _install(packages: set[str], site: Path) -> None:
    """Into a folder of their own, without what they depend on."""
    uv = shutil.which("uv")
    command = [uv, "pip", "install"] if uv else [sys.executable, "-m", "pip", "install"]
    for package in sorted(packages):
        subprocess.run(
            [*command, "--quiet", "--no-deps", "--target", str(site), package], check=True
        )


def _row(file: Foreign, path: Path, *, export: bool) -> Row:
    """What came of one file."""
    proto = freed(onnx.load(path))
    maker = f"{proto.producer_name} {proto.producer_version}".strip()
    row: Row = {
        "file": file.name,
        "package": file.package,
        "made by": maker or "-",
        "nodes": len(proto.graph.node),
    }
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", CamportWarning)
        try:
            _measure(row, file, path, proto, export)
        except CamportError as error:
            row["remarks"] = f"{type(error).__name__}: {error}"
    told = dict.fromkeys(str(w.message) for w in caught if issubclass(w.category, CamportWarning))
    told = {text: None for text in told if not text.startswith(EVERY_DETECTOR)}
    row["remarks"] = " ".join(filter(None, [row.get("remarks", ""), *told])).replace(
        f"{path.parent}/", ""
    )
    return row


def _measure(row: Row, file: Foreign, path: Path, proto: onnx.ModelProto, export: bool) -> None:
    loaded = load_model(str(path))
    images = _images(file, loaded)
    feed = _feed(loaded, images)
    names = [value.name for value in proto.graph.output]
    outputs = dict(zip(names, session_of(proto).run(names, feed), strict=True))
    model: Any = loaded.model
    found = [v.detach() for v in tree_leaves(model(images))]
    row["outputs"] = max(_error(g.numpy(), w) for g, w in zip(found, outputs.values(), strict=True))
    adapter: Any = _adapter(file)
    bound = camport.bind(model, file.method, loaded.layer, adapter)
    explanation = bound(images)
    row["layer"] = ", ".join(bound.layers or ())
    row["explained"] = _explained(file, explanation, loaded)
    if explanation.raw.any():
        row["map"] = _map_error(file, bound, explanation, model, proto, feed, outputs)
    if export:
        row.update(_exported(bound, images))


def _images(file: Foreign, loaded: Loaded) -> Tensor:
    """One of the demo's pictures, as the file wants it."""
    spec = loaded.preprocess
    if file.size is not None:
        spec = replace(spec, size=file.size, side=None)
    with as_file(files("camport.demo") / "samples") as folder:
        picture = open_image(sorted(folder.glob("*.png"))[0])
    return torch.from_numpy(spec.apply(picture)[0])[None]


def _feed(loaded: Loaded, images: Tensor) -> dict[str, np.ndarray]:
    plan: Any = loaded.model.plan
    pixels = images.permute(0, 2, 3, 1) if plan.channels_last else images
    return {plan.inputs[0].name: np.ascontiguousarray(pixels.numpy())}


def _adapter(file: Foreign) -> Any:
    if file.adapter == "detection":
        return DetectionAdapter(format=file.format, threshold=0.0, most=1)
    if file.adapter == "function":
        assert file.function is not None
        return FunctionAdapter(file.function)
    return ClassificationAdapter(**({} if file.output is None else {"output": file.output}))


def _explained(file: Foreign, explanation: Any, loaded: Loaded) -> str:
    if file.adapter == "function":
        return file.asked
    index = int(explanation.target[0])
    name = loaded.labels[index] if index < len(loaded.labels) else f"class {index}"
    return f"{name}, score {float(explanation.score[0]):.3g}"


def _map_error(
    file: Foreign,
    bound: Any,
    explanation: Any,
    model: Any,
    proto: onnx.ModelProto,
    feed: Any,
    outputs: Any,
) -> float | None:
    """The worst of the layers; None for one whose maps ONNX Runtime has in another form."""
    worst: list[float] = []
    for i, layer in enumerate(bound.layers):
        tensor = _tensor(proto, model, layer)
        if tensor is None:
            return None
        if file.method != "gradcam":
            maps = session_of(with_output(proto, tensor)).run([tensor], feed)[0]
            same = maps.shape == tuple(explanation.activations[i].shape)
            worst.append(_error(explanation.activations[i].numpy(), maps) if same else float("nan"))
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CamportWarning)  # of one level of several
            single = camport.bind(model, file.method, layer, bound.adapter)(
                torch.from_numpy(_as_images(model, feed)), _target(file, explanation)
            )
        changed, names, score = _score(file, bound.adapter, explanation, proto, list(outputs))
        wanted, maps = grad_cam(changed, tensor, feed, names, score)
        if maps.shape[1:] != tuple(single.raw.shape[1:]):
            return None
        if wanted[0].any() or single.raw.any():
            worst.append(min(_error(single.raw[0].numpy(), one) for one in wanted))
    return max(worst) if worst else None


def _as_images(model: Any, feed: dict[str, np.ndarray]) -> np.ndarray:
    (pixels,) = feed.values()
    return (
        np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) if model.plan.channels_last else pixels
    )


def _target(file: Foreign, explanation: Any) -> Any:
    if file.adapter == "detection":
        return {name: explanation.figures[name][:1] for name in ("boxes", "class_ids")}
    return explanation.target[:1] if file.adapter == "classification" else None


def _score(
    file: Foreign, adapter: Any, explanation: Any, proto: onnx.ModelProto, names: list[str]
) -> tuple[onnx.ModelProto, list[str], Score]:
    """The number that is explained as a function of the runtime's outputs, and which those are."""
    if file.adapter == "classification":
        name, index = _logits(proto, names[adapter.reading.index]), int(explanation.target[0])
        return with_output(proto, name), [name], lambda found: float(found[name].reshape(-1)[index])

    def score(found: Any) -> float:
        tensors = [torch.from_numpy(found[name]) for name in names]
        whole: Any = tensors[0] if len(tensors) == 1 else tuple(tensors)
        if file.function is not None:
            return float(file.function(whole)[0])
        return float(_detection_score(adapter, whole, explanation))

    return proto, names, score


def _detection_score(adapter: Any, outputs: Any, explanation: Any) -> Tensor:
    """What the adapter reads in the runtime's outputs for the candidate that was explained."""
    from camport.adapters.detection.calls import Seen

    size = tuple(explanation.heatmap.shape[-2:])
    seen = Seen(tree_map(lambda v: v, outputs), size)
    index = explanation.figures.get("index")
    asked = {name: explanation.figures[name][:1] for name in ("boxes", "class_ids")}
    fixed = {**asked, **({} if index is None else {"index": index[:1]})}
    return adapter.score(seen, adapter.resolve(seen, fixed))[0]


def _logits(proto: onnx.ModelProto, output: str) -> str:
    """The tensor whose number is the score: an output,
    or what stands before the softmax that makes it."""
    makers = {name: node for node in proto.graph.node for name in node.output}
    name = output
    while name in makers and makers[name].op_type in PASSING:
        name = makers[name].input[0]
    return makers[name].input[0] if name in makers and makers[name].op_type in LINKS else output


def _tensor(proto: onnx.ModelProto, model: Any, layer: str) -> str | None:
    """The tensor of the file that a layer puts out."""
    made = {output for node in proto.graph.node for output in node.output if output}
    return next(
        (name for name, module in model.layer_aliases.items() if module == layer and name in made),
        None,
    )


def _exported(bound: Any, images: Tensor) -> Row:
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        try:
            report = to_onnx(bound, Path(folder) / "explained.onnx", images)
        except CamportError as error:
            return {"remarks": f"{type(error).__name__}: {error}"}
    return {"exported": report.parity["heatmap"].exported, "seconds": time.perf_counter() - start}


def _error(got: np.ndarray, wanted: np.ndarray) -> float:
    return float(
        np.linalg.norm(np.subtract(got, wanted, dtype=np.float64))
        / max(np.linalg.norm(wanted), 1e-30)
    )


def _table(rows: list[Row]) -> Iterator[str]:
    yield "| " + " | ".join(COLUMNS) + " |"
    yield "| :--- | :--- | :--- | ---: | ---: | :--- | :--- | ---: | ---: | :--- |"
    for row in rows:
        cells = []
        for column in COLUMNS:
            value = row.get(column)
            value = "-" if value is None or value == "" else value
            cells.append(
                f"{value:.1e}" if isinstance(value, float) else str(value).replace("|", "/")
            )
        yield "| " + " | ".join(cells) + " |"
