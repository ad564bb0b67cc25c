"""A fuzz campaign over every door:
`python -m benchmarks faults --seed N [--minutes 10] -o benchmarks/FAULTS.md`.

Each case hands damaged or hostile input to one door. It fails where the door raises what is no
`CamportError`, says more than one line, ends the process or takes longer than `LIMIT` seconds; a
command fails where its status is neither 0 nor 2. Cases run in forked workers, so that a crash or a
hang costs one case and is counted.

A case is made by (seed, kind, number) alone: `--only KIND --first NUMBER --cases 1` runs one again.
`--lives FILE.json` adds the figures that `benchmarks.robustness.lives` recorded.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.robustness.kinds import KINDS, prepare
from camport.bench.machine import versions
from camport.errors import CamportError, silenced

LIMIT = 30.0
"""Seconds that a case may take, on a machine that others use too."""

CONTEXT = multiprocessing.get_context("fork")


def work(kind: str, seed: int, numbers: range, folder: Path, at: Any, log: Path) -> None:
    """Runs cases one after the other; `at` holds the number of the present one and its start."""
    own = folder / f"{kind}-{numbers.start}".replace(" ", "-")
    own.mkdir(exist_ok=True)
    os.chdir(own)
    devnull = os.open(os.devnull, os.O_WRONLY)
    os.dup2(devnull, 2)  # libtiff and others print by themselves
    case = KINDS[kind].make(folder, own)
    with log.open("a") as stream, silenced(Warning):
        for number in numbers:
            at[0], at[1] = number, time.monotonic()
            rng = np.random.default_rng([seed, zlib.crc32(kind.encode()), number])
            try:
                case(rng)
            except CamportError as error:
                if len(str(error).splitlines()) > 1 or not str(error):
                    note(stream, kind, number, f"{len(str(error).splitlines())} lines: {error!r}")
            except BaseException as error:
                note(stream, kind, number, f"{type(error).__name__}: {error}"[:500], error)
    at[0] = -1


def note(
    stream: Any, kind: str, number: int, what: str, error: BaseException | None = None
) -> None:
    """Writes down a failure."""
    trace = error.__traceback__ if error else None
    place = ""
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        place = f"{name}:{trace.tb_lineno}" if "/camport/" in name or not place else place
        trace = trace.tb_next
    stream.write(json.dumps({"kind": kind, "number": number, "what": what, "place": place}) + "\n")
    stream.flush()


def campaign(
    plan: dict[str, range], seed: int, workers: int, minutes: float, folder: Path
) -> dict[str, Any]:
    """Runs all cases of the plan, or as many as fit in the time; failures and counts by kind."""
    log, end = folder / "failures.jsonl", time.monotonic() + minutes * 60
    log.touch()
    size = 250
    waiting = [
        (kind, range(start, min(start + size, numbers.stop)))
        for kind, numbers in plan.items()
        for start in range(numbers.start, numbers.stop, size)
    ]
    # every kind has its turn, whenever the time is over
    waiting.sort(key=lambda job: (job[1].start - plan[job[0]].start) / max(1, len(plan[job[0]])))
    done, endless = dict.fromkeys(plan, 0), dict.fromkeys(plan, 0)
    running: list[tuple[Any, str, range, Any]] = []
    while waiting or running:
        while waiting and len(running) < workers and time.monotonic() < end:
            kind, numbers = waiting.pop(0)
            at = CONTEXT.Array("d", [numbers.start, time.monotonic() + 60])  # a minute to begin
            process = CONTEXT.Process(target=work, args=(kind, seed, numbers, folder, at, log))
            process.start()
            running.append((process, kind, numbers, at))
        if time.monotonic() >= end:
            waiting.clear()
        for entry in list(running):
            process, kind, numbers, at = entry
            number = int(at[0])
            late = number >= 0 and time.monotonic() - at[1] > LIMIT
            if process.is_alive() and not late:
                continue
            running.remove(entry)
            if late:
                os.kill(process.pid, signal.SIGKILL)
            process.join()
            if number < 0:
                done[kind] += len(numbers)
                continue
            if late and KINDS[kind].runs:
                endless[kind] += 1
            else:
                what = (
                    f"longer than {LIMIT:.0f} s"
                    if late
                    else f"the process ended with {process.exitcode}"
                )
                with log.open("a") as stream:
                    note(stream, kind, number, what)
            done[kind] += number + 1 - numbers.start
            if number + 1 < numbers.stop:
                waiting.insert(0, (kind, range(number + 1, numbers.stop)))
        time.sleep(0.05)
    failures = [json.loads(line) for line in log.read_text().splitlines()]
    return {"seed": seed, "done": done, "endless": endless, "failures": failures}


def page(found: list[dict[str, Any]], lives: dict[str, Any]) -> str:
    """FAULTS.md."""
    cases = sum(sum(one["done"].values()) for one in found)
    failures = [failure for one in found for failure in one["failures"]]
    listed = ", ".join(f"{name} {version}" for name, version in versions().items())
    seeds = " and ".join(str(one["seed"]) for one in found)
    lines = [
        "# Damaged and hostile input",
        "",
        (
            f"{cases} cases, {len(failures)} failures. Made by `python -m benchmarks faults` on"
            f" {datetime.date.today().isoformat()}, seeds {seeds}; Python {sys.version.split()[0]},"
            f" {listed}."
        ),
        "",
        (
            "A failure is an error that is no CamportError, an exit status other than 0 and 2,"
            f" more than one line, the end of the process, or more than {LIMIT:.0f} s. Files of"
            " networks are programs, whose own computation has no limit"
            " ([SECURITY.md](../SECURITY.md)); those that were ended after that time are counted"
            " by themselves."
        ),
        "",
        "| door | what is handed to it | cases | failures | ended |",
        "| :--- | :--- | ---: | ---: | ---: |",
    ]
    for kind, about in KINDS.items():
        count = sum(one["done"].get(kind, 0) for one in found)
        if count:
            failed = sum(failure["kind"] == kind for failure in failures)
            ended = sum(one["endless"].get(kind, 0) for one in found) if about.runs else ""
            lines.append(f"| {kind} | {about.text} | {count} | {failed} | {ended} |")
    if failures:
        lines += ["", "| failed | number | what | place |", "| :--- | ---: | :--- | :--- |"]
        for failure in failures[:50]:
            what = failure["what"][:120].replace("|", "\\|").replace("\n", " ")
            place = failure["place"].rpartition("/camport/")[2]
            lines.append(f"| {failure['kind']} | {failure['number']} | {what} | {place} |")
    if lives:
        from benchmarks.robustness.lives import section

        lines += ["", "# Long lives", "", *section(lives)]
    return "\n".join(lines) + "\n"


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks faults", description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", default=[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of each seed")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--only", nargs="+", choices=list(KINDS), default=list(KINDS), metavar="KIND"
    )
    parser.add_argument(
        "--first", type=int, default=0, help="number of the first case of each kind"
    )
    parser.add_argument("--cases", type=int, help="of each kind, in place of its own number")
    parser.add_argument("--lives", type=Path, help="what benchmarks.robustness.lives recorded")
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    plan = {
        kind: range(given.first, given.first + (given.cases or KINDS[kind].cases))
        for kind in given.only
    }
    found = []
    with tempfile.TemporaryDirectory() as made:
        prepare(Path(made))
        for seed in given.seed:
            folder = Path(made) / f"seed-{seed}"
            folder.mkdir()
            for file in Path(made).iterdir():
                if file.is_file():
                    (folder / file.name).hardlink_to(file)
            one = campaign(plan, seed, given.workers, given.minutes, folder)
            found.append(one)
            print(
                f"seed {seed}: {sum(one['done'].values())} cases, {len(one['failures'])} failures",
                flush=True,
            )
            for failure in one["failures"]:
                print(json.dumps(failure), flush=True)
    lives = json.loads(given.lives.read_text()) if given.lives else {}
    if given.output:
        given.output.write_text(page(found, lives), encoding="utf-8")
    sys.exit(1 if any(one["failures"] for one in found) else 0)
