"""Exporting, from the program to a checked file, whatever the format."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor
from torch.fx import GraphModule
from torch.nn import functional

from camport.core.program import Program
from camport.errors import ExportError, OutputError
from camport.export.capture import Captured, DynamicAxes
from camport.export.lower import lower, replay
from camport.export.parity import check_exported, check_lowered
from camport.export.precision import in_float64
from camport.export.report import ExportReport

CHECKED_BATCHES = (1, 3)
"""Batch sizes at which an exported file is compared with eager PyTorch; the traced one is neither."""


@runtime_checkable
class Traceable(Program, Protocol):
    """A `Program`, in a form that a type checker can check at run time."""


@runtime_checkable
class Exportable(Protocol):
    """A bound explainer, as `camport.bind` makes it."""

    def program(self, images: Tensor) -> Traceable:
        """The explanation as a pure function."""
        ...

    def metadata(self, images: Tensor) -> dict[str, str]:
        """The `camport.*` properties of the file."""
        ...


@dataclass(frozen=True)
class Written:
    """What a format wrote: how often each operator occurs, and ONNX's operator set."""

    operators: Mapping[str, int]
    opset: int | None = None


@runtime_checkable
class Format(Protocol):
    """One kind of file that holds a lowered graph."""

    name: str

    @property
    def rules(self) -> Mapping[Any, Callable[..., Any]]:
        """How backward operators are written, see `camport.export.rules`."""
        ...

    def check(self, graph: GraphModule) -> None:
        """Refuses a lowered graph that this format cannot hold, before anything long starts."""
        ...

    def write(
        self,
        lowered: Captured,
        example: Mapping[str, Tensor],
        axes: DynamicAxes,
        metadata: Mapping[str, str],
        path: Path,
    ) -> Written:
        """Writes `lowered`, traced with `example`, to `path`."""
        ...

    def run(self, path: Path, samples: Sequence[Mapping[str, Tensor]]) -> list[Mapping[str, Tensor]]:
        """The outputs of the file at `path` for each sample, computed by its engine alone."""
        ...


def export_program(
    program: Traceable,
    path: Path,
    images: Tensor,
    metadata: Mapping[str, str],
    file_format: Format,
    *,
    dynamic: str = "batch",
) -> ExportReport:
    """Writes any program as one file and proves it equal to eager PyTorch.

    Args:
        program: what to write.
        path: the file; nothing is left there if the export fails.
        images: [b,c,H,W], one example batch.
        metadata: the file's properties.
        file_format: the kind of file.
        dynamic: "batch", "batch+size" (height and width free too), or "none": everything as in `images`.
    """
    started = time.perf_counter()
    target = checked_target(path)
    images = images.detach().cpu()
    state = {name: tensor.detach().cpu() for name, tensor in program.state.items()}
    traced, *checked = (2, *CHECKED_BATCHES) if dynamic != "none" else (len(images),) * 3
    example = program.sample(images, traced, 0)
    axes = dynamic_axes(program, dynamic)
    lowered = lower(program, state, example, axes, file_format.rules)
    file_format.check(lowered.graph)
    sizes = dynamic == "batch+size"
    other = functional.interpolate(images, size=[n + 32 for n in images.shape[2:]]) if sizes else images
    samples = [
        program.sample(like, batch, seed)
        for seed, (like, batch) in enumerate(zip((images, other), checked, strict=True), 2)
    ]
    references = [in_float64(program, state, inputs) for inputs in samples]
    exactness = check_lowered(replay(lowered), lowered.exact_state, samples[0], references[0])
    with placed(target) as draft:
        written = file_format.write(lowered, example, axes, metadata, draft)
        results = iter(file_format.run(draft, samples))
        parity = check_exported(program, state, lambda _: next(results), zip(samples, references, strict=True))
        size = sum(file.stat().st_size for file in draft.parent.iterdir())
    return ExportReport(
        path=target,
        bytes=size,
        opset=written.opset,
        nodes=sum(written.operators.values()),
        operators=written.operators,
        seconds=time.perf_counter() - started,
        parity=parity,
        lowered=exactness,
        format=file_format.name,
        dynamic=tuple(dict.fromkeys(label for named in axes.values() for label in named.values())),
    )


def dynamic_axes(program: Traceable, dynamic: str) -> DynamicAxes:
    """The batch on every input's first axis; height and width of the images where asked for."""
    if dynamic == "none":
        return {}
    axes: dict[str, dict[int, str]] = {name: {0: "b"} for name in program.inputs}
    if dynamic == "batch+size":
        axes[program.inputs[0]].update({2: "H", 3: "W"})
    return axes


def check_dynamic(dynamic: str) -> None:
    """Refuses any other word than the two that users may choose from."""
    if dynamic not in ("batch", "batch+size"):
        raise ExportError(f'dynamic must be "batch" or "batch+size", not {dynamic!r}')


def checked_target(path: str | os.PathLike[str]) -> Path:
    """`path`, after making sure that a file can be written there."""
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target} is a directory; name a file in it")
    if not target.parent.is_dir():
        raise OutputError(f"the directory {target.parent} does not exist; make it first")
    if not os.access(target.parent, os.W_OK) or (target.exists() and not os.access(target, os.W_OK)):
        raise OutputError(f"{target} cannot be written; choose another place or change its permissions")
    return target


@contextmanager
def placed(target: Path) -> Iterator[Path]:
    """A path to write to; what is there at the end moves to `target`, and nothing does if the body raises."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".camport-", dir=target.parent))
    except OSError as error:
        raise OutputError(f"cannot write in {target.parent}: {error.strerror}") from error
    try:
        yield folder / target.name
        for file in sorted(folder.iterdir(), reverse=True):  # external data before the file that names it
            os.replace(file, target.parent / file.name)
    except OSError as error:
        raise OutputError(f"{target} cannot be written: {error.strerror or error}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
