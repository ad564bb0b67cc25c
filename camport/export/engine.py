"""Exporting, from the program to a checked file."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from camport.core.program import Program
from camport.errors import ExportError, MissingDependencyError, OutputError
from camport.export import onnx as onnx_format
from camport.export.capture import DynamicAxes
from camport.export.lint import lint
from camport.export.lower import lower, replay
from camport.export.parity import check_exported, check_lowered
from camport.export.precision import in_float64
from camport.export.report import ExportReport
from camport.export.supported import check_supported

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


def to_onnx(bound: Exportable, path: str | os.PathLike[str], images: Tensor, *, dynamic: str = "batch") -> ExportReport:
    """Writes prediction, gradient and heatmap as one ONNX file and proves it equal to eager PyTorch.

    Args:
        bound: what `camport.bind` returns.
        path: the file to write; its directory must exist. Nothing is left there if the export fails.
        images: [b,c,H,W], one example batch.
        dynamic: "batch", or "batch+size" where height and width shall stay free too.

    Raises:
        OutputError: the file cannot be written there.
        ExportError: the model cannot be captured, lowered or written in standard operators.
        ParityError: the file does not reproduce eager PyTorch.
    """
    target = checked_target(path)
    if dynamic not in ("batch", "batch+size"):
        raise ExportError(f'dynamic must be "batch" or "batch+size", not {dynamic!r}')
    program = bound.program(images)
    return export_program(program, target, images, bound.metadata(images), sizes=dynamic == "batch+size")


def export_program(
    program: Traceable, path: Path, images: Tensor, metadata: Mapping[str, str], *, sizes: bool = False
) -> ExportReport:
    """As `to_onnx`, for any program."""
    started = time.perf_counter()
    target = checked_target(path)
    images = images.detach().cpu()
    state = {name: tensor.detach().cpu() for name, tensor in program.state.items()}
    example = program.sample(images, 2, 0)
    axes = dynamic_axes(program, sizes)
    lowered = lower(program, state, example, axes)
    check_supported(lowered.graph)
    other = functional.interpolate(images, size=[n + 32 for n in images.shape[2:]]) if sizes else images
    samples = [
        program.sample(like, batch, 1 + batch) for like, batch in zip((images, other), CHECKED_BATCHES, strict=True)
    ]
    references = [in_float64(program, state, inputs) for inputs in samples]
    exactness = check_lowered(replay(lowered), lowered.exact_state, samples[0], references[0])
    model = onnx_format.to_model(lowered, example, axes, metadata)
    with _placed(target) as draft:
        onnx_format.save(model, draft)
        lint(draft)
        parity = check_exported(program, state, runner(draft), zip(samples, references, strict=True))
        size = sum(file.stat().st_size for file in draft.parent.iterdir())
    operators = onnx_format.histogram(model)
    return ExportReport(
        path=target,
        bytes=size,
        opset=onnx_format.OPSET,
        nodes=sum(operators.values()),
        operators=operators,
        seconds=time.perf_counter() - started,
        parity=parity,
        lowered=exactness,
    )


def dynamic_axes(program: Traceable, sizes: bool) -> DynamicAxes:
    """The batch on every input's first axis; height and width of the images where `sizes`."""
    axes: dict[str, dict[int, str]] = {name: {0: "b"} for name in program.inputs}
    if sizes:
        axes[program.inputs[0]].update({2: "H", 3: "W"})
    return axes


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
def _placed(target: Path) -> Iterator[Path]:
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


def runner(path: Path) -> Callable[[Mapping[str, Tensor]], dict[str, Tensor]]:
    """The file at `path` as a function of named tensors, in ONNX Runtime on the CPU."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError('checking an export needs ONNX Runtime: pip install "camport[cpu]"') from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    try:
        session: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base class of their own
        raise ExportError(f"ONNX Runtime cannot load the exported graph: {error}") from error
    names = [output.name for output in session.get_outputs()]
    wanted = [value.name for value in session.get_inputs()]

    def run(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        results = session.run(names, {name: inputs[name].numpy() for name in wanted})
        return {name: torch.from_numpy(value) for name, value in zip(names, results, strict=True)}

    return run
