"""Tells a person that something takes a while.

Without a terminal it is said on stdout: stderr is kept for the one line of an error, which scripts
read.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from camport.cli.printing import hushed, printable, say


@contextmanager
def working(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar with the elapsed time on a terminal, one line elsewhere; yields a function of (done,
    total)."""
    console = Console(stderr=True, quiet=hushed())
    if not console.is_terminal:
        say(f"{what} ...")
        yield lambda done, total: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with _drawn(console, *columns) as progress:
        task = progress.add_task(printable(what), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def staged(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner with the present stage and the elapsed time on a terminal, one line elsewhere;
    yields a function of the stage."""
    console = Console(stderr=True, quiet=hushed())
    if not console.is_terminal:
        say(f"{what} ...")
        yield lambda stage: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with _drawn(console, *columns) as progress:
        task = progress.add_task(printable(what), total=None)
        yield lambda stage: progress.update(task, description=printable(f"{what}: {stage}"))


@contextmanager
def stepping() -> Iterator[Callable[[str], None]]:
    """Steps of one long job: a spinner with the present step on a terminal,
    a line for each elsewhere."""
    console = Console(stderr=True, quiet=hushed())
    if not console.is_terminal:
        yield lambda what: say(f"{what} ...")
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with _drawn(console, *columns) as progress:
        task = progress.add_task("starting", total=None)
        yield lambda what: progress.update(task, description=printable(what))


@contextmanager
def counting(what: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar on a terminal, a line for every tenth elsewhere, both with the time left;
    yields (done, total, at work)."""
    console = Console(stderr=True, quiet=hushed())
    if not console.is_terminal:
        say(f"{what} ...")
        said, start = 0, None

        def line(done: int, total: int, name: str) -> None:
            nonlocal said, start
            now = time.monotonic()
            start = start or (done, now)  # what a record held before took no time
            if done * 10 // total > said:
                said = done * 10 // total
                say(
                    f"{done} of {total} steps{_left(done - start[0], total - done, now - start[1])}"
                )

        yield line
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(24),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with _drawn(console, *columns) as progress:
        task = progress.add_task(printable(what), total=None)
        yield lambda done, total, name: progress.update(
            task, completed=done, total=total, description=printable(name or what)
        )


def _drawn(console: Console, *columns: ProgressColumn) -> Progress:
    """A progress on the terminal that stderr is. What is printed meanwhile is put above it where
    stdout is a terminal too; into a file or a pipe it goes as it is, and where nothing is drawn."""
    drawn = not hushed()
    return Progress(
        *columns,
        console=console,
        transient=True,
        redirect_stdout=drawn and sys.stdout.isatty(),
        redirect_stderr=drawn,
    )


def _left(done: int, open_: int, seconds: float) -> str:
    """The time that the open steps take at the pace of those done;
    nothing where there is no pace or no step."""
    return f", {timedelta(seconds=round(seconds / done * open_))} left" if done and open_ else ""
