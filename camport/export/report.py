"""What an export reports: the file, its operators, and how near it is to eager PyTorch."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from camport.export.stages import Stage

FLAT = (
    "the heatmap was flat wherever it was compared: export with images on which the method finds"
    " something"
)


@dataclass(frozen=True)
class OutputParity:
    """How far one output is from float64, as relative l2 over inputs that were not traced.

    Attributes:
        exported: the worst error of the exported file.
        eager: the worst error of eager PyTorch in the file's precision, on the same inputs.
        bound: what `exported` may be, at most `camport.export.proof.parity.MOST`.
    """

    exported: float
    eager: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the exported error is within the bound; NaN is not."""
        return self.exported <= self.bound


@dataclass(frozen=True)
class OutputAgreement:
    """How far one output of an int8 file is from that of the float32 file,
    over images that did not calibrate it.

    Attributes:
        error: ‖int8 - float32‖ / ‖float32‖ over all images.
        correlation: Pearson's, of each image's values, averaged over the images.
        worst: the lowest correlation of one image.
    """

    error: float
    correlation: float
    worst: float


@dataclass(frozen=True)
class Agreement:
    """How well an int8 file explains what the float32 file explains.

    Attributes:
        outputs: per output, its distance from the float32 file's, for the float32 file's targets.
        images: how many were compared; none of them calibrated the file.
        top1: the share of them with the same top class in both files; None where the outputs are no
            logits [b,k].
    """

    outputs: Mapping[str, OutputAgreement]
    images: int
    top1: float | None = None

    def __str__(self) -> str:
        width = max([len("output"), *map(len, self.outputs)])
        top = "" if self.top1 is None else f", the same top class in {self.top1:.1%}"
        many = f"{self.images} image{'s' * (self.images != 1)}"
        rows = [f"int8 against float32 on {many} that did not calibrate it{top}:"]
        rows += [f"{'output':{width}}  {'error':>9}  {'correlation':>11}  {'worst':>9}"]
        rows += [
            f"{name:{width}}  {a.error:9.1e}  {a.correlation:11.4f}  {a.worst:9.4f}"
            for name, a in self.outputs.items()
        ]
        return "\n".join(rows)


@dataclass(frozen=True)
class PreparationParity:
    """How the preprocessing in a graph differs from `camport.runtime`'s, which is Pillow's,
    on pictures of noise.

    Attributes:
        worst: the largest difference, in grey levels of 255.
        share: of the values, how many differ.
        sizes: (height, width) of the pictures.
    """

    worst: float
    share: float
    sizes: tuple[tuple[int, int], ...]

    def __str__(self) -> str:
        return (
            f"preprocessing inside; of {len(self.sizes)} pictures {self.share:.2%} of the values"
            f" differ from Pillow's, by {self.worst:.0f} of 255 at most"
        )


@dataclass(frozen=True)
class ExportReport:
    """One exported file. Printing it gives a table.

    Attributes:
        path: the file.
        bytes: its size, external data included.
        opset: the version of the ONNX operator set; None in the other formats.
        nodes: how many nodes its graph has.
        operators: how often each operator occurs, the most frequent first.
        seconds: how long the export took, parity included.
        parity: per output, its distance from float64. Of an int8 file: the float32 file's that it
            was made from.
        lowered: the largest relative distance, over all outputs, between the lowered graph and the
            program, both in float64: it shows the backward rules right for this model.
        format: the kind of file.
        dynamic: the names of the axes that are free, "b" the batch; empty where all are as they
            were traced.
        precision: what it computes in, "float32", "float16" or "int8".
        agreement: of an int8 file, how near it is to the float32 one; None otherwise.
        preparation: where the file prepares its images, how near it comes to Pillow; None
            otherwise.
        flat: whether every heatmap that was compared was flat, so that its parity says little.
        variants: how many variants of an image the loops were compared with, where they run more;
            None: all.
        sha256: of the file, which tells later whether a stored report is about it; external data is
            not in it.
        stages: what was done, in order, with its time and the rewrites of each pass.
    """

    path: Path
    bytes: int
    opset: int | None
    nodes: int
    operators: Mapping[str, int]
    seconds: float
    parity: Mapping[str, OutputParity]
    lowered: float
    format: str = "ONNX"
    dynamic: tuple[str, ...] = ("b",)
    precision: str = "float32"
    agreement: Agreement | None = None
    preparation: PreparationParity | None = None
    variants: int | None = None
    sha256: str = ""
    flat: bool = False
    stages: tuple[Stage, ...] = ()

    def __str__(self) -> str:
        width = max([len("output"), *map(len, self.parity)])
        rows = [f"{'output':{width}}  {'exported':>9}  {'eager':>9}  {'bound':>9}"]
        rows += [
            f"{name:{width}}  {p.exported:9.1e}  {p.eager:9.1e}  {p.bound:9.1e}"
            for name, p in self.parity.items()
        ]
        operators = ", ".join(f"{name} {count}" for name, count in list(self.operators.items())[:8])
        kind = self.format if self.opset is None else f"opset {self.opset}"
        kind += "" if self.precision == "float32" else f", {self.precision}"
        free = f"dynamic {', '.join(self.dynamic)}" if self.dynamic else "static batch and size"
        judged = (
            "the float32 file it was made from" if self.precision == "int8" else "relative error"
        )
        return "\n".join(
            [
                f"{self.path}: {_size(self.bytes)}, {kind}, {free}, {self.seconds:.1f} s",
                f"{self.nodes} nodes: {operators}" + (", ..." if len(self.operators) > 8 else ""),
                *([] if self.preparation is None else [str(self.preparation)]),
                f"{judged} against float64 (lowered graph {self.lowered:.0e})"
                + (f", loops by their first {self.variants} variants:" if self.variants else ":"),
                *rows,
                *([FLAT] if self.flat else []),
                *([] if self.agreement is None else [str(self.agreement)]),
            ]
        )

    def to_json(self) -> str:
        """All of it as a JSON object; `path` is the file's name alone,
        since the report lies beside it."""
        values: dict[str, Any] = {**asdict(self), "path": self.path.name}
        return json.dumps(values, indent=1, allow_nan=False) + "\n"


def _size(number: int) -> str:
    return f"{number / 1e6:.1f} MB" if number >= 1e5 else f"{number / 1e3:.1f} kB"


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
