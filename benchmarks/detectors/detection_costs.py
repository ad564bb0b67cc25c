"""What explaining the best detections of an image takes over the bare forward pass,
in PyTorch and from a file."""

import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import camport
from camport.adapters import DetectionAdapter
from camport.bench.machine import session_of
from camport.bench.timing import collector_at_rest
from camport.export import to_onnx


def costs(model: nn.Module, images: Sequence[Tensor], most: int, rounds: int) -> list[str]:
    """A row for each number of detections, of which at most `most` are explained."""
    bound = camport.bind(model, adapter=DetectionAdapter(most=most))
    ratios: dict[int, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        bare, explaining = _files(model, bound, images[0], Path(folder))
        for image in images:
            found = bound(image)
            fed = {"images": image.numpy()}
            asked = {
                **fed,
                "boxes": found.figures["boxes"].numpy(),
                "class_ids": found.target.numpy(),
            }
            eager = _ratio(partial(_inferred, model, image), partial(bound, image), rounds)
            edge = _ratio(
                partial(bare.run, None, fed), partial(explaining.run, ["heatmap"], asked), rounds
            )
            ratios.setdefault(len(found.score), []).append((eager, edge))
    side = images[0].shape[-1]
    rows = []
    for k, pairs in sorted(ratios.items()):
        eager, edge = (statistics.median(column) for column in zip(*pairs, strict=True))
        rows.append(
            f"| {side} | {k} | {len(pairs)} | {eager:.2f} | {edge:.2f} | {1 + 0.8 * k:.1f} |"
        )
    return rows


def _files(model: nn.Module, bound: camport.Bound, image: Tensor, folder: Path) -> tuple[Any, Any]:
    """Sessions of the bare model's file and of the explanation's."""
    with contextlib.redirect_stdout(sys.stderr):
        torch.onnx.export(
            model,
            (image,),
            folder / "bare.onnx",
            input_names=["images"],
            dynamo=True,
            verbose=False,
        )
    to_onnx(bound, folder / "explained.onnx", image, one_image=True)
    return session_of(folder / "bare.onnx"), session_of(folder / "explained.onnx")


def _inferred(model: nn.Module, image: Tensor) -> Any:
    with torch.inference_mode():
        return model(image)


def _ratio(bare: Callable[[], Any], subject: Callable[[], Any], rounds: int) -> float:
    """The subject's median time over the bare run's, in turns."""
    times: tuple[list[float], list[float]] = ([], [])
    with collector_at_rest():
        for _ in range(rounds):
            for run, taken in zip((bare, subject), times, strict=True):
                start = time.process_time()
                run()
                taken.append(time.process_time() - start)
    return statistics.median(times[1]) / statistics.median(times[0])
