"""What the pipeline asks of a kind of file, and what a file tells of itself once it is written."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from torch import Tensor
from torch.fx import GraphModule

from camport.export.capture.capture import Captured, DynamicAxes
from camport.export.report import Agreement, PreparationParity
from camport.export.traceable import Traceable


@dataclass(frozen=True)
class Written:
    """What a format wrote: how often each operator occurs, ONNX's operator set, and what `finish`
    measured or changed: `dynamic` are the free axes where they are no longer those that were
    traced.
    """

    operators: Mapping[str, int]
    opset: int | None = None
    agreement: Agreement | None = None
    preparation: PreparationParity | None = None
    dynamic: tuple[str, ...] | None = None


@runtime_checkable
class Format(Protocol):
    """One kind of file that holds a lowered graph."""

    name: str

    @property
    def rules(self) -> Mapping[Any, Callable[..., Any]]:
        """How backward operators are written, see `camport.export.rules`."""
        ...

    def missing(self, operator: Any, args: Sequence[Any]) -> str | None:
        """What this format cannot hold where a model calls `operator` with these arguments;
        None where it can."""
        ...

    def check(self, graph: GraphModule) -> None:
        """Refuses a lowered graph that this format cannot hold,
        for what the model's own calls do not show."""
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

    def run(
        self, path: Path, samples: Sequence[Mapping[str, Tensor]]
    ) -> list[Mapping[str, Tensor]]:
        """The outputs of the file at `path` for each sample, computed by its engine alone."""
        ...

    def finish(self, path: Path, program: Traceable, images: Tensor, written: Written) -> Written:
        """Whatever is done to the file once it is proven,
        and proof of that on the example batch."""
        ...
