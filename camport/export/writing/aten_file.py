"""What the two formats of PyTorch's own share: ATen operators alone,
and a check in a process without camport."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from torch import Tensor
from torch.fx import GraphModule

from camport.errors import ExportError
from camport.export.capture.capture import Captured
from camport.export.capture.loops import LOOP, all_nodes
from camport.export.file_format import Written
from camport.export.rules import PLAIN_RULES
from camport.export.traceable import Traceable
from camport.export.writing.fresh_process import run_fresh

_OWN = ("aten", "prim", "prims")


class AtenFile:
    """The common half of a `camport.export.file_format.Format`; `write` is each format's own.

    Attributes:
        engine: which loader the fresh process uses, as `run_fresh` names it.
    """

    engine: ClassVar[str]
    rules = PLAIN_RULES

    def __init__(self) -> None:
        self._names: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    def missing(self, operator: Any, args: Sequence[Any]) -> str | None:
        """An operator that is not PyTorch's own and that no rule writes with such."""
        known = operator.namespace in _OWN or operator in self.rules
        return None if known else f"{operator} (not PyTorch's own)"

    def check(self, graph: GraphModule) -> None:
        """Refuses operators that a process with PyTorch alone does not have.

        Raises:
            ExportError: naming them.
        """
        called: set[Any] = {
            node.target for node in all_nodes(graph) if hasattr(node.target, "_schema")
        } - {LOOP}
        foreign = sorted(str(target) for target in called if target.namespace not in _OWN)
        if foreign:
            raise ExportError(
                f"{', '.join(foreign)} is not PyTorch's own, so the file would not run by PyTorch"
                " alone; replace the module"
            )

    def remember(self, lowered: Captured) -> None:
        """Keeps the names of inputs and outputs, which the file's own engine does not know."""
        self._names = (lowered.inputs, lowered.outputs)

    def run(
        self, path: Path, samples: Sequence[Mapping[str, Tensor]]
    ) -> list[Mapping[str, Tensor]]:
        """In a fresh process."""
        return run_fresh(self.engine, path, samples, *self._names)

    def finish(self, path: Path, program: Traceable, images: Tensor, written: Written) -> Written:
        """Nothing more: what was compared is the file."""
        return written
