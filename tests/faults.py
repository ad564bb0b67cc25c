"""Faults on purpose: the n-th operation on files fails, or the process is killed at it,
for every n.

An operation is a folder that is made, a file that is opened to write, bytes that reach it, a sync,
a rename, a second name, a statement of SQLite. After each fault everything below the folder is as
it was before or as it would be without the fault, without drafts, and what was raised is one
CamportError.
"""

import builtins
import errno
import io
import os
import re
import select
import shutil
import signal
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from camport.errors import CamportError
from camport.files import DRAFT, sweep

Contents = dict[str, bytes]
LONGEST = 300
"""Seconds in which a fork has to reach what it is killed at."""


def full(operation: str) -> None:
    """What a full disk raises."""
    if operation == "sql":
        raise sqlite3.OperationalError("database or disk is full")
    raise OSError(errno.ENOSPC, "No space left on device")


@dataclass
class Faults:
    """Inside, operations below `folder` are told,
    and `act` is called at the one with number `nth`, from 0 on."""

    folder: Path
    nth: int | None = None
    act: Callable[[str], None] = full
    met: list[str] = field(default_factory=list)

    def _meet(self, operation: str, *places: Any) -> None:
        inside = not places
        for place in places:
            if isinstance(place, str | os.PathLike):
                inside = inside or os.path.abspath(place).startswith(
                    os.path.abspath(self.folder) + os.sep
                )
        if inside:
            self.met.append(operation)
            if len(self.met) - 1 == self.nth:
                self.act(operation)

    def __enter__(self) -> "Faults":
        self._patch = pytest.MonkeyPatch()
        for name, operation in (
            ("mkdir", "mkdir"),
            ("replace", "rename"),
            ("rename", "rename"),
            ("link", "link"),
        ):
            self._patch.setattr(os, name, self._before(operation, getattr(os, name)))
        sync = os.fsync
        self._patch.setattr(os, "fsync", lambda number: (self._meet("fsync"), sync(number))[1])
        opened, faults = io.open, self

        class Raw(io.FileIO):
            def write(self, data: Any) -> Any:
                faults._meet("write")
                return super().write(data)

        def open_(
            file: Any,
            mode: str = "r",
            buffering: int = -1,
            encoding: Any = None,
            *rest: Any,
            **more: Any,
        ) -> Any:
            if not isinstance(file, str | os.PathLike) or not set(mode) & set("wxa+"):
                return opened(file, mode, buffering, encoding, *rest, **more)
            faults._meet("open", file)
            if not os.path.abspath(file).startswith(os.path.abspath(faults.folder) + os.sep):
                return opened(file, mode, buffering, encoding, *rest, **more)
            raw = Raw(file, mode.replace("b", "").replace("t", ""))
            if buffering == 0:
                return raw
            stream: Any = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return stream if "b" in mode else io.TextIOWrapper(stream, encoding)

        self._patch.setattr(io, "open", open_)
        self._patch.setattr(builtins, "open", open_)
        connect = sqlite3.connect

        class Connection(sqlite3.Connection):
            def execute(self, *arguments: Any) -> Any:
                faults._meet("sql")
                return super().execute(*arguments)

            def executemany(self, *arguments: Any) -> Any:
                faults._meet("sql")
                return super().executemany(*arguments)

            def executescript(self, *arguments: Any) -> Any:
                faults._meet("sql")
                return super().executescript(*arguments)

        self._patch.setattr(
            sqlite3, "connect", lambda *a, **o: connect(*a, factory=Connection, **o)
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def _before(self, operation: str, honest: Callable[..., Any]) -> Callable[..., Any]:
        def faulty(*places: Any, **options: Any) -> Any:
            self._meet(operation, *places)
            return honest(*places, **options)

        return faulty


def contents(folder: Path) -> Contents:
    """Every file below a folder."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def restore(folder: Path, files: Contents) -> None:
    """Makes a folder hold these files alone."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def drafts(folder: Path) -> list[str]:
    """What no run may leave."""
    return [
        str(p)
        for p in folder.rglob("*")
        if p.name.startswith(DRAFT) or p.suffix in (".tmp", ".part")
    ]


def all_of(operations: Sequence[str]) -> Iterable[int]:
    """Every operation."""
    return range(len(operations))


def ends(operations: Sequence[str]) -> Iterable[int]:
    """The first and the last of each kind, where every run takes seconds."""
    first = {kind: n for n, kind in reversed(list(enumerate(operations)))}
    return sorted({*first.values(), *{kind: n for n, kind in enumerate(operations)}.values()})


@dataclass
class Told:
    """How many faults there were, by operation, and what was not as it should be."""

    faults: dict[str, int] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, operation: str, wrong: str | None) -> None:
        """Counts one."""
        self.faults[operation] = self.faults.get(operation, 0) + 1
        if wrong:
            self.failures.append(f"{operation}: {wrong}")


Whole = Callable[[Contents], bool]


def fail_each(
    work: Callable[[], object],
    folder: Path,
    old: Contents,
    whole: Whole,
    chosen: Callable[[Sequence[str]], Iterable[int]] = all_of,
) -> Told:
    """Fails the n-th operation of `work` on files below `folder`, for each n that is chosen.

    Args:
        work: writes, given an `old` folder.
        folder: where.
        old: what lies there before.
        whole: whether the folder's files are what work leaves when nothing fails.
        chosen: picks among the operations of a run without faults.
    """
    restore(folder, old)
    with Faults(folder) as honest:
        work()
    told = Told()
    assert whole(contents(folder)), "without a fault"
    for n in chosen(honest.met):
        restore(folder, old)
        error: BaseException | None = None
        with Faults(folder, n) as faults:
            try:
                work()
            except BaseException as raised:
                error = raised
        told.add(
            faults.met[n] if n < len(faults.met) else "none", _wrong(error, folder, old, whole)
        )
    return told


def kill_each(
    work: Callable[[], object],
    folder: Path,
    old: Contents,
    whole: Whole,
    chosen: Callable[[Sequence[str]], Iterable[int]] = all_of,
) -> Told:
    """Kills a fork of this process (SIGKILL) just before the n-th operation;
    arguments as of `fail_each`.

    That it was reached is certain: the fork says so, and waits. Its draft stays, and is swept a day
    later. `work` runs in forks alone: after autograd has run in a process it does not run in forks
    of it.
    """
    restore(folder, old)
    operations = _in_fork(folder, work).split()
    told = Told()
    assert whole(contents(folder)), "without a fault"
    for n in chosen(operations):
        restore(folder, old)
        operation = _in_fork(folder, work, n)
        left = {name: v for name, v in contents(folder).items() if not name.startswith(DRAFT)}
        good = operation == operations[n] and (left == old or whole(left))
        told.add(operation or "not reached", None if good else f"left {list(left)}")
        for draft in folder.glob(f"{DRAFT}*"):
            _age(draft)
        sweep(folder)
        if contents(folder) != left:
            told.failures.append(f"{operation}: a day later there is {list(contents(folder))}")
    return told


def _in_fork(folder: Path, work: Callable[[], object], nth: int | None = None) -> str:
    """The operations of a whole run; or the one with number `nth`,
    before which the fork is killed."""
    reached, says = os.pipe()
    child = os.fork()
    if not child:
        status = 1

        def stop(operation: str) -> None:
            os.write(says, operation.encode())
            time.sleep(2 * LONGEST)

        try:
            with Faults(folder, nth, stop) as faults:
                work()
            os.write(says, " ".join(faults.met).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(says)
    waiting = select.select([reached], [], [], LONGEST)[0]
    said = os.read(reached, 60_000).decode() if waiting else ""
    os.close(reached)
    if nth is not None or not waiting:
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return said


def _age(place: Path) -> None:
    for part in (*place.rglob("*"), place):
        os.utime(part, (time.time() - 2 * 24 * 3600,) * 2)


def _wrong(error: BaseException | None, folder: Path, old: Contents, whole: Whole) -> str | None:
    left = contents(folder)
    if error is not None and not isinstance(error, CamportError):
        return f"{type(error).__name__}: {error}"
    said = str(error or "")
    if error is not None and (
        len(said.splitlines()) != 1 or not re.search("No space|disk is full", said)
    ):
        return f"said {error}"
    if drafts(folder):
        return f"litter: {drafts(folder)}"
    if error is None and not whole(left):
        return f"no error, and {list(left)}"
    return None if left == old or whole(left) else f"left {list(left)}"
