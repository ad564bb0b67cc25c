"""What an export did: its stages with their time, and what each pass over the graph rewrote.

Recorded for every export, in the thread that exports; `ExportReport.stages` has it, and `camport
export --explain` prints it, also of an export that failed.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from torch.fx import GraphModule

from camport.export.failure_location import location_of

NOTE = "stage of the export: "
"""Begins the note that an error has of where it was raised."""

Begins = Callable[[str], object]
_here = threading.local()


@dataclass(frozen=True)
class Stage:
    """One stage of an export.

    Attributes:
        name: what was done.
        seconds: how long it took.
        counts: what it did, how often: rewrites of each pass, nodes of a graph.
        failed: whether it raised.
    """

    name: str
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)
    failed: bool = False

    def __str__(self) -> str:
        done = ", ".join(f"{name} {count}" for name, count in self.counts.items() if count)
        state = " (failed)" if self.failed else ""
        return f"{self.seconds:6.2f} s  {self.name}{state}" + (f": {done}" if done else "")


class Stages(list[Stage]):
    """The stages so far.

    Attributes:
        folder: where the graph after each pass is written; None: nowhere.
        begins: called with the name of each stage as it begins.
    """

    def __init__(self, folder: Path | None = None, begins: Begins | None = None) -> None:
        super().__init__()
        self.folder, self.begins = folder, begins
        self._written = 0

    def write(self, name: str, graph: GraphModule) -> None:
        """The graph as text, in the order in which passes ran."""
        if self.folder is not None:
            self._written += 1
            path = self.folder / f"{self._written:03}-{name}.txt"
            path.write_text(graph.print_readable(print_output=False), encoding="utf-8")


@contextmanager
def recorded(folder: Path | None = None, begins: Begins | None = None) -> Iterator[Stages]:
    """The stages of the exports that run inside, in this thread.

    Args:
        folder: where the graph after each pass is written, one text file each.
        begins: called with the name of each stage as it begins.
    """
    before = getattr(_here, "stages", None)
    _here.stages = stages = Stages(folder, begins)
    try:
        yield stages
    finally:
        _here.stages = before


@contextmanager
def recording() -> Iterator[Stages]:
    """The stages of one export: those that somebody records, or a list of its own."""
    if getattr(_here, "stages", None) is not None:
        yield _here.stages
        return
    with recorded() as found:
        yield found


def stages() -> Stages:
    """Those of the export that runs; a list of its own where nobody records."""
    found: Stages | None = getattr(_here, "stages", None)
    return Stages() if found is None else found


@contextmanager
def stage(name: str) -> Iterator[dict[str, int]]:
    """A stage; what it did is put into the dictionary. An error that leaves it has a note of the
    innermost stage, with its `camport.export.failure_location.Location`."""
    counts: dict[str, int] = {}
    started = time.perf_counter()
    failed = True
    if begins := stages().begins:
        begins(name)
    try:
        yield counts
        failed = False
    except Exception as error:
        if not any(note.startswith(NOTE) for note in getattr(error, "__notes__", ())):
            error.add_note(f"{NOTE}{name}{location_of(error)}")
        raise
    finally:
        stages().append(Stage(name, time.perf_counter() - started, counts, failed))
