"""Runs that are kept, and whether an entry became slower than in the last one on the same machine.

A run is pytest-benchmark's JSON, in the folder and under the name that pytest-benchmark's own
storage would have, so that `pytest-benchmark compare` reads it too. A file appears whole or not at
all.
"""

from __future__ import annotations

import json
import os
import platform
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camport.errors import InputError, OutputError
from camport.files import DRAFT, sweep

SLOWER = 1.15
"""A ratio that grew by more is a slowdown."""

Report = dict[str, Any]


@dataclass(frozen=True)
class Figure:
    """An entry's ratio to the bare pass in one run.

    Attributes:
        ratio: the median over the rounds.
        low, high: its quartiles.
        layer: that was explained.
    """

    ratio: float
    low: float
    high: float
    layer: str = ""


@dataclass(frozen=True)
class Change:
    """An entry beside the last run that has it.

    Attributes:
        entry: in words.
        before, now: both figures.
        run: the earlier one's file name.
    """

    entry: str
    before: Figure
    now: Figure
    run: str

    @property
    def factor(self) -> float:
        """The ratio now over the ratio before."""
        return self.now.ratio / self.before.ratio

    @property
    def grew(self) -> bool:
        """By more than 15 %."""
        return self.factor > SLOWER

    @property
    def slower(self) -> bool:
        """It grew, beyond noise: three quarters of the rounds now are above three quarters of those
        before."""
        return self.grew and self.now.low > self.before.high

    def __str__(self) -> str:
        moved = (
            f"; {self.before.layer} then, {self.now.layer} now"
            if self.before.layer != self.now.layer
            else ""
        )
        return (
            f"{self.entry}: {self.now.ratio:.2f} [{self.now.low:.2f}, {self.now.high:.2f}] times"
            f" the bare pass, {self.before.ratio:.2f} [{self.before.low:.2f},"
            f" {self.before.high:.2f}] in {self.run} ({self.factor - 1:+.0%}{moved})"
        )


@dataclass(frozen=True)
class Comparison:
    """A run beside the earlier ones of the same machine.

    Attributes:
        changes: entries that an earlier run has.
        new: entries that none has.
    """

    changes: tuple[Change, ...]
    new: tuple[str, ...]

    @property
    def slower(self) -> list[Change]:
        """The slowdowns, the largest first."""
        return sorted((c for c in self.changes if c.slower), key=lambda c: -c.factor)

    @property
    def doubtful(self) -> list[Change]:
        """Grown by more than 15 %, but within noise."""
        return [c for c in self.changes if c.grew and not c.slower]


def figures(report: Report) -> dict[str, Figure]:
    """By entry; CPU time of the process, on a GPU the wall time."""
    clock = "wall" if report["machine_info"]["device"] == "cuda" else "cpu"
    found = {}
    for row in (benchmark["extra_info"] for benchmark in report["benchmarks"]):
        if f"ratio_{clock}" in row:
            low, high = row[f"ratio_{clock}_quartiles"]
            found[_named(row)] = Figure(row[f"ratio_{clock}"], low, high, row["layer"])
    return found


def machine(report: Report) -> dict[str, Any]:
    """What has to be the same for two runs to be compared."""
    info = report["machine_info"]
    return {
        "cpu": info["cpu"].get("brand_raw", info["processor"]),
        "count": info["cpu"].get("count"),
        "device": info["device"],
        "gpu": info["device_line"].split(";")[0] if info["device"] == "cuda" else None,
        "threads": info["threads"],
        "python": ".".join(info["python_version"].split(".")[:2]),
    }


def compared(report: Report, earlier: Mapping[str, Report]) -> Comparison:
    """Each entry beside the last earlier run on this machine in which it is and was not found
    slower itself.

    An entry that was found slower stays slower when the command is given again; a run that was
    stored without being compared is what later ones are compared with.

    Args:
        report: the run.
        earlier: stored runs by file name, the oldest first.
    """
    known: dict[str, tuple[str, Figure]] = {}
    for name, run in earlier.items():
        if machine(run) == machine(report):
            refused = set(run.get("slower", ()))
            known |= {
                entry: (name, figure)
                for entry, figure in figures(run).items()
                if entry not in refused
            }
    now = figures(report)
    changes = [
        Change(entry, known[entry][1], now[entry], known[entry][0])
        for entry in now
        if entry in known
    ]
    return Comparison(tuple(changes), tuple(entry for entry in now if entry not in known))


def stored(storage: Path) -> dict[str, Report]:
    """Runs of the storage that `camport bench` wrote, by file name, the oldest first.

    Raises:
        InputError: a file is damaged.
    """
    return dict(_runs(storage / machine_id()))


def store(report: Report, storage: Path) -> Path:
    """Writes a run beside the others, whole or not at all, under the next number; the file.

    Raises:
        OutputError: the folder cannot be written.
    """
    folder = storage / machine_id()
    draft = folder / f"{DRAFT}{secrets.token_hex(6)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        with draft.open("x", encoding="utf-8") as written:
            json.dump(report, written, indent=1)
            written.flush()
            os.fsync(written.fileno())
        number = max((int(n) for n in map(_number, folder.iterdir()) if n), default=0) + 1
        while True:
            target = folder / f"{number:04d}_camport.json"
            try:
                os.link(draft, target)  # unlike a rename it takes nobody's place
                return target
            except FileExistsError:
                number += 1
    except OSError as error:
        raise OutputError(f"{folder} cannot hold the run: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            draft.unlink()


def machine_id() -> str:
    """The folder of this kind of machine, as pytest-benchmark names it."""
    version = ".".join(platform.python_version_tuple()[:2])
    return "-".join(
        (platform.system(), platform.python_implementation(), version, platform.architecture()[0])
    )


def _runs(folder: Path) -> Iterator[tuple[str, Report]]:
    files = [file for file in folder.iterdir() if _number(file)] if folder.is_dir() else []
    for file in sorted(files, key=lambda file: int(_number(file))):
        try:
            report = json.loads(file.read_text(encoding="utf-8"))
            ours = "threads" in report["machine_info"] and "left_out" in report
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file} is no run of camport bench ({error}); remove it") from None
        if ours:
            yield file.name, report


def _number(file: Path) -> str:
    found = re.fullmatch(r"(\d+)_.*\.json", file.name)
    return found[1] if found else ""


def _named(row: Mapping[str, Any]) -> str:
    from camport.bench.plan import Entry, Network

    return str(Entry(Network(**row["network"]), row["method"], row["engine"], row["batch"]))
