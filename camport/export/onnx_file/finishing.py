"""What is done to an .onnx file once it is proven, in this order; each step proves itself against the file before it.

A further step is a file with such a function, and a line in `STEPS`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from camport.export.atomic_file import parts
from camport.export.file_format import Written
from camport.export.onnx_file.explain_detections import DETECTED, ask_about_detections, check_detected
from camport.export.onnx_file.int8 import quantize
from camport.export.onnx_file.lint import BATCH
from camport.export.onnx_file.nms import append, check_appended
from camport.export.onnx_file.one_image import check_shared, share_image
from camport.export.onnx_file.preprocessing import check_spliced, measure, preparation, splice
from camport.export.traceable import Traceable
from camport.runtime.preprocess import Preprocess


@runtime_checkable
class File(Protocol):
    """What is asked of an .onnx file, and the model as onnx_ir has it: `camport.export.writing.to_onnx.Onnx`."""

    calibration: Tensor | None
    preprocess: Preprocess | None
    tail: Any
    one_image: bool
    model: Any

    def save(self, path: Path, batch: str = BATCH) -> Written:
        """Writes the model and lints it."""
        ...


@dataclass
class Unfinished:
    """A file that is proven, between two steps.

    Attributes:
        file: the options, and the model as onnx_ir has it.
        path: of the draft.
        program: what it was made of.
        images: [b,c,H,W], the example batch.
        written: what was written last.
        batch: the name of its first axis.
        extras: what the report tells besides.
    """

    file: File
    path: Path
    program: Traceable
    images: Tensor
    written: Written
    batch: str = BATCH
    extras: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Writes the model in place of the draft, and lints it."""
        self.written = self.file.save(self.path, self.batch)

    def aside(self) -> Path:
        """Moves the draft, with its external data, into a folder beside it, in place of what was there."""
        folder = self.path.parent / "plain"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for part in parts(self.path):
            part.rename(folder / part.name)
        return folder / self.path.name


def to_int8(at: Unfinished) -> None:
    """First, since calibration runs the network on images as the file takes them so far."""
    assert at.file.calibration is not None
    at.file.model, at.extras["agreement"] = quantize(at.path, at.program, at.file.calibration)
    at.save()


def for_one_image(at: Unfinished) -> None:
    """Before suppression, whose detections become the targets."""
    plain = at.aside()
    share_image(at.file.model)
    at.save()
    check_shared(plain, at.path, at.program, at.images)


def with_suppression(at: Unfinished) -> None:
    """Behind the outputs, which it reads."""
    append(at.file.model, at.file.tail)
    at.save()
    check_appended(at.path, at.file.tail, at.program, at.images)


def about_detections(at: Unfinished) -> None:
    """Behind suppression: its rows are the targets."""
    asked = at.aside()
    ask_about_detections(at.file.model)
    at.batch, at.extras["dynamic"] = DETECTED, (DETECTED,)
    at.save()
    check_detected(asked, at.path, at.images)


def with_preprocessing(at: Unfinished) -> None:
    """Last, since the others prove themselves on prepared images."""
    assert at.file.preprocess is not None
    front = preparation(at.file.preprocess)
    at.extras["preparation"] = measure(front, at.file.preprocess)
    plain = at.aside()
    splice(at.file.model, front, at.file.preprocess)
    at.save()
    check_spliced(plain, at.path, front, at.program)


STEPS: tuple[tuple[str, Callable[[File], bool], Callable[[Unfinished], None]], ...] = (
    ("int8", lambda file: file.calibration is not None, to_int8),
    ("one image", lambda file: file.one_image, for_one_image),
    ("suppression", lambda file: file.tail is not None, with_suppression),
    ("maps of detections", lambda file: file.tail is not None and file.one_image, about_detections),
    ("preprocessing", lambda file: file.preprocess is not None, with_preprocessing),
)
"""Name, whether it is asked for, and what is done."""
