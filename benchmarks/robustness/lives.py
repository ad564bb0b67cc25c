"""Memory over long lives, and many threads at once:
`python -m benchmarks lives --records FILE.json`.

Each family explains small images thousands of times in a process of its own, whose resident memory
is read now and then. `--only NAME...` runs some of them; what the records hold is not run again.
`faults.py` writes them into FAULTS.md.
"""

import argparse
import gc
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import camport
from camport.adapters import DetectionAdapter
from camport.errors import silenced
from camport.export import to_onnx
from camport.models import load_model
from camport.plugins import RISE, Occlusion
from camport.runtime import load

Record = dict[str, Any]
Step = Callable[[int], object]
READINGS = 40
"""Times at which memory is read, after the first tenth, in which caches fill."""

COUNT, COUNTS = 20_000, {"exports": 100, "models": 1_000, "models of classes of their own": 1_000}
THREADS, SECONDS = 64, 600


class Small(nn.Module):
    """A network as small as it can be."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU()
        )
        self.fc = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        """Scores [b,4]."""
        return self.fc(self.features(x).mean((2, 3)))


def _network() -> nn.Module:
    torch.manual_seed(0)
    return Small().eval()


def _images(b: int = 2) -> Tensor:
    return torch.randn(b, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def _by(method: Any) -> Step:
    bound, images = camport.bind(_network(), method, "features"), _images()
    return lambda i: bound(images, i % 4)


def _detection() -> Step:
    bound = camport.bind(
        load_model("demo:detector").model, adapter=DetectionAdapter(threshold=0.0, most=2)
    )
    images = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    return lambda i: bound(images)


def _words() -> Step:
    loaded = load_model("demo:captioner")
    bound = camport.bind(loaded.model, None, loaded.layer, loaded.adapter)
    images = torch.rand(1, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    tokens = {"tokens": torch.tensor([[1, 3, 9, 15, 16, 3, 12, 2]]), "span": torch.tensor([[2, 3]])}
    return lambda i: bound(images, tokens)


def _file(folder: Path) -> tuple[Any, np.ndarray]:
    path = folder / "small.onnx"
    to_onnx(camport.bind(_network(), "gradcam", "features"), path, _images())
    return load(path, ["cpu"]), _images().numpy()


def _runtime() -> Step:
    with tempfile.TemporaryDirectory() as folder:
        explainer, images = _file(Path(folder))
    return lambda i: explainer(images, target=[i % 4, 1])


def _exports() -> Step:
    bound, folder = camport.bind(_network(), "gradcam", "features"), tempfile.mkdtemp()
    return lambda i: to_onnx(bound, Path(folder) / "small.onnx", _images())


def _models() -> Step:
    images = _images()
    return lambda i: camport.explain(_network(), images, "gradcam", i % 4, "features")


def _classes() -> Step:
    images = _images()

    def explain(i: int) -> None:
        class Own(Small):
            pass

        camport.explain(Own().eval(), images, "gradcam", i % 4, "features")
        camport.explain(
            torch.fx.symbolic_trace(_network()), images, "eigencam", i % 4, "features.3"
        )

    return explain


FAMILIES: dict[str, Callable[[], Step]] = {
    "gradient": lambda: _by("gradcam"),
    "input gradient": lambda: _by("guided_backprop"),
    "feature maps": lambda: _by("eigencam"),
    "masked": lambda: _by(RISE(8)),
    "masked by maps": lambda: _by("scorecam"),
    "occlusion": lambda: _by(Occlusion((8, 8), (8, 8))),
    "ablation": lambda: _by("ablationcam"),
    "places": lambda: _by("reciprocam"),
    "detection": _detection,
    "words": _words,
    "runtime": _runtime,
    "exports": _exports,
    "models": _models,
    "models of classes of their own": _classes,
}


def live(name: str, count: int) -> Record:
    """Runs a family `count` times; its resident memory in MB,
    and by how much it grew from one half to the other."""
    torch.set_num_threads(1)
    start = time.perf_counter()
    readings: list[float] = []
    with silenced():
        step = FAMILIES[name]()
        begin = max(1, count // 10)
        marks = {begin + (count - begin) * k // READINGS for k in range(READINGS)}
        for i in range(count):
            step(i)
            if i + 1 in marks or i + 1 == count:
                gc.collect()
                readings.append(_resident())
    half = len(readings) // 2
    before, after = float(np.median(readings[:half])), float(np.median(readings[half:]))
    return {
        "times": count,
        "MB": round(readings[-1], 1),
        "growth": (after - before) / before,
        "seconds": round(time.perf_counter() - start),
    }


def threads(kind: str, seconds: float) -> Record:
    """THREADS threads on one bound explainer or one session,
    each result compared with the serial one's bits."""
    torch.set_num_threads(1)
    with silenced(), tempfile.TemporaryDirectory() as folder:
        if kind == "runtime":
            explainer, images = _file(Path(folder))

            def run(i: int) -> np.ndarray:
                return explainer(images, target=[i % 4, 1]).heatmap

        else:
            bound, pixels = camport.bind(_network(), "gradcam", "features"), _images()
            run = lambda i: bound(pixels, i % 4).heatmap.numpy()  # noqa: E731
        expected = [run(i) for i in range(4)]
        end, done, wrong, raised = time.monotonic() + seconds, [0] * THREADS, [0] * THREADS, []

        def work(k: int) -> None:
            i = k
            try:
                with silenced():
                    while time.monotonic() < end:
                        wrong[k] += not np.array_equal(run(i), expected[i % 4])
                        done[k] += 1
                        i += 1
            except Exception as error:
                raised.append(f"{type(error).__name__}: {error}")

        workers = [threading.Thread(target=work, args=(k,)) for k in range(THREADS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    return {
        "times": sum(done),
        "wrong": sum(wrong),
        "raised": raised[:3],
        "seconds": round(seconds),
        "MB": _resident(),
    }


def section(records: dict[str, Record]) -> Iterator[str]:
    """Lines of Markdown."""
    yield "| what | times | resident, MB | growth from one half to the other |"
    yield "| :--- | ---: | ---: | ---: |"
    for name, record in records.items():
        if "growth" in record:
            yield f"| {name} | {record['times']} | {record['MB']:.0f} | {record['growth']:+.2%} |"
    yield ""
    for name, record in records.items():
        if "wrong" in record:
            yield (
                f"{THREADS} {name}, {record['seconds']} s: {record['times']} explanations,"
                f" {record['wrong']} of them other than the serial ones, to the last bit;"
                f" {len(record['raised'])} errors."
            )


def _resident() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmRSS")


def _alone(function: Callable[..., Record], *arguments: Any) -> Record:
    """In a process of its own, so that one family's memory is not another's."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks lives", description=__doc__)
    names = [*FAMILIES, "threads, PyTorch", "threads, runtime"]
    parser.add_argument("--records", type=Path, required=True, help="a JSON file")
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the times and seconds, for a trial"
    )
    given = parser.parse_args()
    records: dict[str, Record] = (
        json.loads(given.records.read_text()) if given.records.is_file() else {}
    )
    for name in given.only:
        if name in records:
            continue
        if name.startswith("threads"):
            kind = "runtime" if name.endswith("runtime") else "torch"
            records[name] = _alone(threads, kind, SECONDS * given.share)
        else:
            records[name] = _alone(live, name, max(50, int(COUNTS.get(name, COUNT) * given.share)))
        print(name, records[name], flush=True)
        given.records.write_text(json.dumps(records, indent=1))
    print("\n".join(section(records)))
