"""A step behind the proof: a change of a proven .onnx file, and the proof of that change."""

from __future__ import annotations

import shutil
from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import onnx
import onnx_ir as ir
from torch import Tensor

from camport.errors import ExportError
from camport.export.atomic_file import parts
from camport.export.file_format import Written
from camport.export.onnx_file.lint import BATCH
from camport.export.stages import stage
from camport.export.traceable import Traceable
from camport.runtime.preprocess import Preprocess


@dataclass(frozen=True)
class Options:
    """What is asked of an .onnx file beyond what was traced.

    Attributes:
        calibration: [n,c,H,W], images that int8 is calibrated with.
        preprocess: what is put before the network.
        tail: the suppression that is put behind it.
        one_image: whether the file takes a single image.
    """

    calibration: Tensor | None = None
    preprocess: Preprocess | None = None
    tail: onnx.ModelProto | None = None
    one_image: bool = False


@dataclass
class Draft:
    """A proven file between two steps.

    Attributes:
        options: what is asked of the file.
        model: the file as onnx_ir has it.
        path: the file.
        program: what it was made of.
        images: [b,c,H,W], the example batch.
        save: writes a model, whose first axis has that name, and lints it.
        written: what was written last.
        batch: the name of the first axis.
        measured: fields of the report that steps measured.
    """

    options: Options
    model: ir.Model
    path: Path
    program: Traceable
    images: Tensor
    save: Callable[[Path, str], Written]
    written: Written
    batch: str = BATCH
    measured: dict[str, Any] = field(default_factory=dict)

    @property
    def before(self) -> Path:
        """The file as it was before the step that is being done."""
        return self.path.parent / "plain" / self.path.name

    def do(self, step: Step) -> None:
        """Does a step, as a stage of the export.

        Raises:
            ExportError: what the step requires or ensures does not hold, or its proof fails.
        """
        with stage(step.name) as counts:
            shutil.rmtree(self.before.parent, ignore_errors=True)
            self.before.parent.mkdir()
            for part in parts(self.path):
                part.rename(self.before.parent / part.name)
            try:
                step(self.model)
            except ir.passes.InvariantError as error:
                raise ExportError(f"the step {step.name!r} of the export: {error}") from error
            self.batch = step.batch or self.batch
            self.written = self.save(self.path, self.batch)
            counts["nodes"] = sum(self.written.operators.values())
            self.measured.update(step.prove(self))


class Step(ir.passes.InPlacePass):
    """One change: an `onnx_ir` pass that `requires` and `ensures`, and `prove`s what it wrote.

    Attributes:
        name: of the stage, the file's own name.
        batch: what the first axis is called from here on, None: as before.
    """

    name: ClassVar[str]
    batch: ClassVar[str | None] = None

    @classmethod
    def of(cls, draft: Draft) -> Step | None:
        """The step for this file; None where it is not asked for."""
        return cls()

    @abstractmethod
    def prove(self, draft: Draft) -> Mapping[str, Any]:
        """Compares `draft.path` with `draft.before`.

        Returns: fields of `camport.export.file_format.Written` that it measured.

        Raises:
            ExportError: the two do not say the same.
        """


def requires(holds: bool, what: str) -> None:
    """For `Step.requires`.

    Raises:
        onnx_ir.passes.PreconditionError: `what` does not hold.
    """
    if not holds:
        raise ir.passes.PreconditionError(f"it requires {what}")


def ensures(holds: bool, what: str) -> None:
    """For `Step.ensures`.

    Raises:
        onnx_ir.passes.PostconditionError: `what` does not hold.
    """
    if not holds:
        raise ir.passes.PostconditionError(f"it ensures {what}, and this is not so")
