"""Exporting, from the program to a checked file, whatever the format."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from camport.core.maps.loop import limited
from camport.core.running.chunk_size import within_memory
from camport.errors import ExportError, UnknownNameError
from camport.export.atomic_file import checked_target as checked_target
from camport.export.atomic_file import parts, placed, report_file
from camport.export.capture.capture import Captured, DynamicAxes
from camport.export.capture.forgotten import forgotten
from camport.export.file_format import Format, Written
from camport.export.graph import state_of
from camport.export.lower import lower, replay
from camport.export.output_selection import select
from camport.export.preflight.called_operators import check_called
from camport.export.preflight.refuse_dtypes import check_graph, check_state
from camport.export.proof.float64_reference import in_float64
from camport.export.proof.parity import check_exported, check_lowered
from camport.export.quiet import one_at_a_time
from camport.export.report import ExportReport, sha256
from camport.export.rewrite.half import HALF, Half, halve
from camport.export.stages import recording, stage
from camport.export.traceable import Traceable as Traceable

CHECKED_BATCHES = (1, 3)
"""Batch sizes at which an exported file is compared with eager PyTorch; the traced one is
neither."""

CHECKED_VARIANTS = 48
"""Loops are compared with eager PyTorch over this many variants of an image: RISE has 8000, each a
forward pass."""


@runtime_checkable
class Exportable(Protocol):
    """A bound explainer, as `camport.bind` makes it."""

    def program(self, images: Tensor, target: Any = None) -> Traceable:
        """The explanation as a pure function."""
        ...

    def metadata(self, images: Tensor) -> dict[str, str]:
        """The `camport.*` properties of the file."""
        ...


@one_at_a_time
def export_program(
    program: Traceable,
    path: Path,
    images: Tensor,
    metadata: Mapping[str, str],
    file_format: Format,
    *,
    dynamic: str = "batch",
    outputs: Sequence[str] | None = None,
    precision: str = "float32",
    report: bool = False,
) -> ExportReport:
    """Writes any program as one file and proves it equal to eager PyTorch.

    Args:
        program: what to write.
        path: the file; nothing is left there if the export fails.
        images: [b,c,H,W], one example batch.
        metadata: the file's properties.
        file_format: the kind of file.
        dynamic: "batch", "batch+size" (height and width free too), or "none": everything as in
            `images`.
        outputs: which outputs the file has, see `camport.export.output_selection.select`; None:
            all.
        precision: "float32", "float16", or "int8", which is the format's own to make of a float32
            file.
        report: whether the report is stored beside the file, as FILE.report.json.
    """
    started = time.perf_counter()
    target = checked_target(path)
    images = images.detach().cpu().float()
    check_state(program.state)
    with (
        recording() as done,
        forgotten(),
        within_memory(images),
        limited(CHECKED_VARIANTS) as limit,
        placed(target) as draft,
    ):
        program = select(program, images, outputs)
        state = {name: tensor.detach().cpu() for name, tensor in program.state.items()}
        traced, *checked = (2, *CHECKED_BATCHES) if dynamic != "none" else (len(images),) * 3
        example = program.sample(images, traced, 0)
        with stage("preflight"):
            check_called(program, state, example, file_format.missing, file_format.name)
        axes = dynamic_axes(program, dynamic)
        lowered = lower(program, state, example, axes, file_format.rules)
        with stage("preflight of the lowered graph"):
            check_graph(lowered.graph)
            file_format.check(lowered.graph)
        sizes = dynamic == "batch+size"
        other = (
            functional.interpolate(images, size=[n + 32 for n in images.shape[2:]])
            if sizes
            else images
        )
        samples = [
            program.sample(like, batch, seed)
            for seed, (like, batch) in enumerate(zip((images, other), checked, strict=True), 2)
        ]
        with stage("proof of the graph, in float64"):
            references = [in_float64(program, state, inputs) for inputs in samples]
            again = partial(in_float64, program, state, samples[0])
            exactness = check_lowered(
                replay(lowered), lowered.exact_state, samples[0], references[0], again
            )
        judged, kind = (Half(program), HALF) if precision == "float16" else (program, torch.float32)
        judged_state = {name: tensor.cpu() for name, tensor in judged.state.items()}
        if precision != "float32":
            metadata = {**metadata, "camport.precision": precision}

        def write(graph: Captured) -> Written:
            with stage(f"writing {file_format.name}") as counts:
                if precision == "float16":
                    halve(graph)
                made = file_format.write(graph, example, axes, metadata, draft)
                counts["nodes"] = sum(made.operators.values())
            return made

        written = write(lowered)
        with stage("proof of the file"):
            results = iter(file_format.run(draft, samples))
            compared = zip(samples, references, strict=True)
            twin = (
                None
                if precision == "float16"
                else partial(replay(lowered), state_of(lowered.graph))
            )
            parity = check_exported(
                judged, judged_state, lambda _: next(results), compared, kind, twin
            )
        if limit.cut:  # what was checked had fewer turns of the same loops
            with limited(None):
                written = write(lower(program, state, example, axes, file_format.rules))
        written = file_format.finish(draft, program, images, written)
        made = ExportReport(
            path=target,
            bytes=sum(part.stat().st_size for part in parts(draft)),
            opset=written.opset,
            nodes=sum(written.operators.values()),
            operators=written.operators,
            seconds=time.perf_counter() - started,
            parity=parity,
            lowered=exactness,
            format=file_format.name,
            dynamic=written.dynamic
            or tuple(dict.fromkeys(label for named in axes.values() for label in named.values())),
            precision=precision,
            agreement=written.agreement,
            preparation=written.preparation,
            sha256=sha256(draft),
            flat="heatmap" in references[0]
            and not any(reference["heatmap"].any() for reference in references),
            variants=CHECKED_VARIANTS if limit.cut else None,
            stages=tuple(done),
        )
        if report:
            report_file(draft).write_text(made.to_json(), encoding="utf-8")
    return made


def dynamic_axes(program: Traceable, dynamic: str) -> DynamicAxes:
    """The batch on every input's first axis; height and width of the images where asked for."""
    if dynamic == "none":
        return {}
    axes: dict[str, dict[int, str]] = {name: {0: "b"} for name in program.inputs}
    if dynamic == "batch+size":
        axes[program.inputs[0]].update({2: "H", 3: "W"})
        for name, named in getattr(program, "sized", {}).items():
            axes[name].update(named)
    return axes


def check_precision(precision: str, known: Sequence[str]) -> None:
    """Refuses a precision that the format does not have."""
    if precision not in known:
        raise UnknownNameError("precision", precision, known)


def check_dynamic(dynamic: str) -> None:
    """Refuses any other word than the two that users may choose from."""
    if dynamic not in ("batch", "batch+size"):
        raise ExportError(f'dynamic must be "batch" or "batch+size", not {dynamic!r}')
