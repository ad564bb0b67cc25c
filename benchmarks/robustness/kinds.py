"""The kinds of case: for each door, how it is fed."""

import contextlib
import io
import json
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

import camport
from benchmarks.robustness.junk import TEXTS, anything, damaged, jsonlike, pick
from benchmarks.robustness.targets import targets
from camport.cli import main as command
from camport.cli.loading import _read_labels
from camport.core.registry import Registry
from camport.evaluation import open_data
from camport.export import to_onnx
from camport.models.onnx import load_onnx
from camport.models.weights import load_state, read_state
from camport.runtime import Preprocess, load, open_image
from camport.runtime.metadata import parse_metadata

Rng = np.random.Generator
Case = Callable[[Rng], object]
SUFFIXES = (".png", ".jpg", ".webp", ".bmp", ".gif", ".tiff", ".ppm", ".jp2", ".npy", ".npz")


class Net(nn.Module):
    """A network as small as it can be."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        self.fc = nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores [b,3]."""
        return self.fc(self.features(x).mean((2, 3)))


def prepare(folder: Path) -> None:
    """Sound files, of which damaged ones are made."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    net, images = Net().eval(), torch.rand(2, 3, 8, 10)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 10, 3), np.uint8))
    for suffix in SUFFIXES[:-2]:
        picture.save(folder / f"sound{suffix}")
    np.save(folder / "sound.npy", np.asarray(picture).transpose(2, 0, 1))
    np.savez(folder / "sound.npz", np.asarray(picture).transpose(2, 0, 1))
    torch.save(net.state_dict(), folder / "sound.pt")
    from safetensors.torch import save_file

    save_file(net.state_dict(), folder / "sound.safetensors")
    torch.onnx.export(net, (images,), folder / "bare.onnx", dynamo=False, input_names=["images"])
    to_onnx(
        camport.bind(net, "gradcam", "features", labels=["a", "b", "c"]),
        folder / "explainer.onnx",
        images,
    )
    annotations = {
        "images": [{"id": 1, "file_name": "sound.png", "height": 8, "width": 10}],
        "categories": [{"id": 3, "name": "cat"}],
        "annotations": [
            {"id": 5, "image_id": 1, "category_id": 3, "bbox": [1, 2, 3, 4], "iscrowd": 0}
        ],
    }
    (folder / "coco.json").write_text(json.dumps(annotations))
    (folder / "labels.txt").write_text("zero\none\nzwölf\n", encoding="utf-8")


def _bytes(folder: Path, own: Path, names: list[str], use: Callable[[Path], object]) -> Case:
    """A door that reads a file, fed with damaged ones."""
    sound = {name: (folder / name).read_bytes() for name in names}

    def case(rng: Rng) -> None:
        name = pick(rng, names)
        file = own / name
        file.write_bytes(damaged(rng, sound[name]))
        use(file)

    return case


def image(folder: Path, own: Path) -> Case:
    """Damaged pictures and arrays."""
    return _bytes(folder, own, [f"sound{suffix}" for suffix in SUFFIXES], open_image)


def labels(folder: Path, own: Path) -> Case:
    """Damaged lists of names."""
    return _bytes(folder, own, ["labels.txt"], _read_labels)


def weights(folder: Path, own: Path) -> Case:
    """Damaged state dicts, loaded into a network."""
    net = Net()
    return _bytes(
        folder, own, ["sound.pt", "sound.safetensors"], lambda f: load_state(net, read_state(f), f)
    )


def values_of_weights(folder: Path, own: Path) -> Case:
    """State dicts of other keys, types, shapes and values; what loads is explained."""
    images = torch.rand(1, 3, 8, 10)

    def case(rng: Rng) -> None:
        net = Net().eval()
        state: dict[Any, Any] = dict(net.state_dict())
        for _ in range(int(rng.integers(1, 3))):
            key = pick(rng, list(state))
            way = int(rng.integers(4))
            if way == 0:
                state[key] = anything(rng)
            elif way == 1:
                state[pick(rng, (*TEXTS, 3, None))] = state.pop(key)
            elif (
                isinstance(state[key], torch.Tensor)
                and state[key].dtype == torch.float32
                and state[key].numel()
            ):
                changed = state[key].clone()
                changed.view(-1)[0] = pick(rng, (float("nan"), float("inf"), 1e38, 0))
                state[key] = (
                    changed
                    if way == 2
                    else changed.to(pick(rng, (torch.float16, torch.int64, torch.cfloat)))
                )
        try:
            torch.save(state, own / "odd.pt")
        except Exception:
            return  # nothing that can be in a file
        load_state(net, read_state(own / "odd.pt"), own / "odd.pt")
        camport.explain(net, images, "gradcam", 1, "features")

    return case


def network_file(folder: Path, own: Path) -> Case:
    """Damaged bare .onnx files, rebuilt and explained."""
    images = torch.rand(1, 3, 8, 10)
    return _bytes(
        folder,
        own,
        ["bare.onnx"],
        lambda f: camport.explain(load_onnx(f).model, images, "gradcam", 1),
    )


def exported_file(folder: Path, own: Path) -> Case:
    """Damaged exported files, loaded and run."""
    images = np.random.default_rng(1).random((1, 3, 8, 10), np.float32)
    return _bytes(
        folder, own, ["explainer.onnx"], lambda f: load(f, ["cpu"], threads=1)(images, target=1)
    )


def metadata(folder: Path, own: Path) -> Case:
    """Entries `camport.*` of any JSON."""
    keys = ("method", "adapter", "labels", "preprocess", "layer", "version", "classes", "x")
    options = ("vocabulary", "answers", "prompt", "pad", "end", "form", "threshold", "most", "iou")

    def case(rng: Rng) -> None:
        entries = {}
        for key in rng.choice(keys, int(rng.integers(1, 5))):
            value = jsonlike(rng)
            if key == "adapter" and rng.random() < 0.7:
                own_options = {pick(rng, options): jsonlike(rng) for _ in range(3)}
                value = {
                    "name": pick(rng, ("vqa", "detection", "captioning", value)),
                    "options": own_options,
                }
            if key == "preprocess" and rng.random() < 0.7:
                value = _stated(rng)
            text = json.dumps(value)
            entries[f"camport.{key}"] = (
                damaged(rng, text.encode()).decode("latin-1") if rng.random() < 0.3 else text
            )
        parse_metadata(entries, "x.onnx")

    return case


def _stated(rng: Rng) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "size": [64, 48], "fit": "crop", "resize": 70, "interpolation": "bicubic", "scale": 0.1, "mean": [0.5] * 3,
        "std": [0.2] * 3, "pad": 3, "in_graph": False, "stride": 32, "side": [None, 20],
    }  # fmt: skip
    chosen = {key: fields[key] for key in rng.choice(list(fields), int(rng.integers(1, 6)))}
    for key in list(chosen):
        if rng.random() < 0.3:
            chosen[key] = jsonlike(rng, 2)
        elif isinstance(chosen[key], list) and rng.random() < 0.3:
            chosen[key] = [
                pick(rng, (0, -1, 1, 5, 300, 10**9, 1e-320, 1e300, None, "a")) for _ in chosen[key]
            ]
    return chosen


def preprocess(folder: Path, own: Path) -> Case:
    """JSON of --preprocess, applied to pictures."""
    pictures = [Image.new("RGB", size, (9, 200, 30)) for size in ((10, 8), (1, 300), (64, 64))]

    def case(rng: Rng) -> None:
        text = json.dumps(_stated(rng))
        text = damaged(rng, text.encode()).decode("latin-1") if rng.random() < 0.2 else text
        made = Preprocess.from_json(text)
        if made.size is not None and made.size[0] * made.size[1] > 10**6:
            return  # memory that was asked for
        pixels, placement = made.apply(pick(rng, pictures))
        placement.to_image(np.zeros(placement.network, np.float32))
        assert made.in_graph or np.isfinite(pixels).all(), "pixels that are not finite"

    return case


def plugin(folder: Path, own: Path) -> Case:
    """Plugins whose modules, hooks and classes are anything."""

    class Point:
        def __init__(self, rng: Rng) -> None:
            self.rng, self.name = rng, pick(rng, (*TEXTS, "mine"))

        @property
        def dist(self) -> Any:
            if self.rng.random() < 0.2:
                raise KeyError("Name")
            return types.SimpleNamespace(
                name=pick(self.rng, (*TEXTS, None)), version=pick(self.rng, (*TEXTS, None))
            )

        def load(self) -> Any:
            rng = self.rng
            if rng.random() < 0.2:
                raise pick(
                    rng,
                    (
                        SystemExit(3),
                        ImportError("x\ny"),
                        RecursionError(),
                        MemoryError(),
                        OSError(5, "o"),
                    ),
                )
            hook = pick(
                rng, ("camport_explainers", "camport_adapters", "camport_metrics", "camport_none")
            )
            module, returned = types.ModuleType("third"), anything(rng)
            if rng.random() < 0.7:
                traits = {
                    t: anything(rng, 0)
                    for t in rng.choice(["title", "paper", "family", "needs", "range"], 2)
                }
                traits |= {
                    "name": pick(rng, ("mine", 3, None, "gradcam", [], *TEXTS)),
                    "needs_gradients": False,
                }
                base = pick(rng, (camport.Explainer, camport.Adapter, camport.Metric, object))
                returned = [
                    type(
                        "Mine",
                        (base,),
                        {**traits, "saliency": lambda *_: None, "measure": lambda *_: None},
                    )
                ]
            setattr(module, hook, camport.hookimpl(lambda: returned))
            return pick(rng, (module, anything(rng))) if rng.random() < 0.2 else module

    def case(rng: Rng) -> None:
        registry = Registry([Point(rng) for _ in range(2)])  # type: ignore[misc]
        assert "gradcam" in registry.classes["explainer"], "built-in methods are gone"
        for kind in registry.classes.values():
            for owned in kind.values():
                assert isinstance(owned.cls.title, str), "a title that is no text"

    return case


def command_line(folder: Path, own: Path) -> Case:
    """Commands with options of any text."""
    for name in ("sound.png", "explainer.onnx", "bare.onnx", "labels.txt", "sound.pt"):
        (own / name).write_bytes((folder / name).read_bytes())
    words = (
        *TEXTS,
        "sound.png",
        "explainer.onnx",
        "labels.txt",
        "features",
        "gradcam",
        "none",
        "/dev/null",
        ".",
        "9x9",
    )
    options = (
        *(
            "--target",
            "--layer",
            "--labels",
            "--preprocess",
            "--colormap",
            "--alpha",
            "--box",
            "--method",
            "--adapter",
        ),
        *(
            "--confidence",
            "--question",
            "--view",
            "--weights",
            "--provider",
            "--caption",
            "--format",
            "--zzz",
        ),
    )

    def case(rng: Rng) -> None:
        name = pick(
            rng,
            (
                "explain",
                "run",
                "run",
                "layers",
                "methods",
                "metrics",
                "plugins",
                "evaluate",
                pick(rng, words),
            ),
        )
        model = [
            "-m",
            pick(rng, ("bare.onnx", "bare.onnx", "sound.pt", "demo:none", pick(rng, words))),
        ]
        start = {
            "explain": ["sound.png", *model],
            "run": ["explainer.onnx", "sound.png"],
            "layers": model,
        }
        arguments = [name, *start.get(name, [])]
        for _ in range(int(rng.integers(0, 3))):
            arguments += [pick(rng, options), pick(rng, words)]
        arguments += (
            ["-o", pick(rng, ("out.png", "out.npz", pick(rng, words)))] if name in start else []
        )
        if name == "evaluate":
            arguments += [*model, "--data", pick(rng, words), "-o", "scores"]
        _run([str(a) for a in arguments])

    return case


def _run(arguments: list[str]) -> None:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = command(arguments)
    assert status in (0, 2), f"{arguments}: status {status}: {err.getvalue()[-300:]}"
    lines = [
        line
        for line in err.getvalue().splitlines()
        if not line.startswith(("camport: note", "camport: Flat"))
    ]
    assert status != 2 or sum("error:" in line for line in lines) == 1, (
        f"{arguments}: {err.getvalue()[-300:]}"
    )
    for text in (out.getvalue(), err.getvalue()):
        assert not set("\x1b\x07\u202e\0") & set(text), f"{arguments}: controls the terminal"


def coco(folder: Path, own: Path) -> Case:
    """Annotations of other values and damaged ones."""
    (own / "sound.png").write_bytes((folder / "sound.png").read_bytes())
    sound = (folder / "coco.json").read_text()

    def case(rng: Rng) -> None:
        data = json.loads(sound)
        for _ in range(int(rng.integers(1, 3))):
            entry = data[pick(rng, list(data))]
            if rng.random() < 0.2:
                data[pick(rng, list(data))] = jsonlike(rng)
                break
            entry[0][pick(rng, list(entry[0]))] = jsonlike(rng)
        text = json.dumps(data).encode()
        (own / "coco.json").write_bytes(damaged(rng, text) if rng.random() < 0.3 else text)
        open_data(str(own / "coco.json"), detection=rng.random() < 0.5)

    return case


def arguments(folder: Path, own: Path) -> Case:
    """camport.explain with one argument of any kind, or two."""
    net = Net().eval()

    def case(rng: Rng) -> None:
        given: dict[str, Any] = {
            "images": torch.rand(2, 3, 8, 10),
            "layer": "features",
            "method": "gradcam",
        }
        keys = [
            "images",
            "target",
            "layer",
            "method",
            "adapter",
            "chunk",
            "labels",
            "preprocess",
            "model",
        ]
        for key in rng.choice(keys, int(rng.integers(1, 3)), replace=False):
            given[str(key)] = anything(rng)
        explanation = camport.explain(given.pop("model", net), **given)
        assert bool(explanation.heatmap.isfinite().all()), "a heatmap that is not finite"

    return case


def fed(folder: Path, own: Path) -> Case:
    """An exported file's inputs in Python, of any kind."""
    explainer = load(folder / "explainer.onnx", ["cpu"], threads=1)
    images = np.random.default_rng(1).random((2, 3, 8, 10), np.float32)

    def case(rng: Rng) -> None:
        given: dict[str, Any] = {"images": images, "target": 1}
        for key in rng.choice(
            ["images", "target", "only", "boxes"], int(rng.integers(1, 3)), replace=False
        ):
            given[str(key)] = anything(rng)
        explainer(**given)

    return case


@dataclass(frozen=True)
class Kind:
    """A door, how many cases of it are tried, and what makes them."""

    make: Callable[[Path, Path], Case]
    cases: int
    runs: bool = False
    """The file is a program: how long it computes is its own matter (SECURITY.md)."""

    @property
    def text(self) -> str:
        """What is handed to it."""
        return (self.make.__doc__ or "").rstrip(".")


KINDS = {
    "image": Kind(image, 12_000),
    "labels": Kind(labels, 3_000),
    "weights": Kind(weights, 4_000),
    "values of weights": Kind(values_of_weights, 2_000),
    "network file": Kind(network_file, 2_500, runs=True),
    "exported file": Kind(exported_file, 5_000, runs=True),
    "metadata": Kind(metadata, 9_000),
    "preprocess": Kind(preprocess, 6_000),
    "plugin": Kind(plugin, 1_000),
    "command line": Kind(command_line, 1_500),
    "coco": Kind(coco, 3_000),
    "arguments": Kind(arguments, 3_000),
    "targets": Kind(targets, 5_000),
    "fed": Kind(fed, 5_000),
}
