"""What an export reports: the file, its operators, and how near it is to eager PyTorch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class OutputParity:
    """How far one output is from float64, as relative l2 over inputs that were not traced.

    Attributes:
        exported: the worst error of the exported file.
        eager: the worst error of eager PyTorch in the file's precision, on the same inputs.
        bound: what `exported` may be.
    """

    exported: float
    eager: float
    bound: float

    @property
    def holds(self) -> bool:
        """Whether the exported error is within the bound; NaN is not."""
        return self.exported <= self.bound


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
        parity: per output, its distance from float64.
        lowered: the largest relative distance, over all outputs, between the lowered graph and the program, both in
            float64: it shows the backward rules right for this model.
        format: the kind of file.
        dynamic: the names of the axes that are free, "b" the batch; empty where all are as they were traced.
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

    def __str__(self) -> str:
        width = max([len("output"), *map(len, self.parity)])
        rows = [f"{'output':{width}}  {'exported':>9}  {'eager':>9}  {'bound':>9}"]
        rows += [
            f"{name:{width}}  {p.exported:9.1e}  {p.eager:9.1e}  {p.bound:9.1e}" for name, p in self.parity.items()
        ]
        operators = ", ".join(f"{name} {count}" for name, count in list(self.operators.items())[:8])
        kind = self.format if self.opset is None else f"opset {self.opset}"
        free = f"dynamic {', '.join(self.dynamic)}" if self.dynamic else "static batch and size"
        return "\n".join(
            [
                f"{self.path}: {self.bytes / 1e6:.1f} MB, {kind}, {free}, {self.seconds:.1f} s",
                f"{self.nodes} nodes: {operators}" + (", ..." if len(self.operators) > 8 else ""),
                f"relative error against float64 (lowered graph {self.lowered:.0e}):",
                *rows,
            ]
        )
