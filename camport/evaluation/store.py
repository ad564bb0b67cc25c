"""The record of an evaluation: one SQLite file,
whole after every batch whatever stops the process."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from camport.errors import InputError, OutputError

FILE = "evaluation.sqlite"
_TABLES = """
create table if not exists settings (name text primary key, value text not null);
create table if not exists examples (
    example integer primary key, name text, asked text, score real);
create table if not exists done (method text, metric text, batch integer,
    primary key (method, metric, batch));
create table if not exists figures (method text, metric text, example integer, value real,
    primary key (method, metric, example));
create table if not exists curves (
    method text, metric text, name text, example integer, points blob,
    primary key (method, metric, name, example));
create table if not exists refusals (method text, metric text, reason text,
    primary key (method, metric));
create table if not exists maps (
    method text, example integer, height integer, width integer, levels blob,
    primary key (method, example));
"""


@dataclass
class Batch:
    """What one method gave on one batch of examples, written as a whole or not at all.

    Attributes:
        figures: of each metric, by its key: one number an example.
        curves: of each metric, by its key: arrays [b,steps] by name.
        refusals: reasons by metric; "" is the method itself.
        maps: heatmaps of examples to be shown, by their number: uint8 [h,w].
    """

    figures: dict[str, np.ndarray] = field(default_factory=dict)
    curves: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    refusals: dict[str, str] = field(default_factory=dict)
    maps: dict[int, np.ndarray] = field(default_factory=dict)


class Store:
    """Opens the record in a folder, or begins one.

    Args:
        folder: made if it does not exist; its parent has to be there.
        settings: what the figures depend on beside method, metric and example. A record of other
            settings is refused.

    Raises:
        InputError: the folder holds an evaluation of other settings.
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self._folder = folder
        new, begun = not folder.exists(), not (folder / FILE).exists()
        try:
            folder.mkdir(exist_ok=True)
            self._db = sqlite3.connect(folder / FILE, isolation_level=None)
            self._db.execute("pragma journal_mode=wal")
            self._db.execute("pragma synchronous=full")
            self._db.executescript(_TABLES)
        except (OSError, sqlite3.Error) as error:
            self._undo(begun, new)
            raise OutputError(f"{folder} cannot hold an evaluation: {error}") from None
        given = {name: json.dumps(value, sort_keys=True) for name, value in settings.items()}
        try:
            known = dict(self._rows("select name, value from settings"))
            for name, value in given.items():
                if known.get(name, value) != value:
                    raise InputError(
                        f"{folder} holds an evaluation with {name} {_short(known[name])},"
                        f" and this one has {_short(value)}; name another folder, or remove it"
                    )
            with self._whole():
                self._db.executemany("insert or replace into settings values (?, ?)", given.items())
        except (InputError, OutputError):
            self._undo(begun, new)
            raise

    def close(self) -> None:
        """Ends the connection."""
        self._db.close()

    def _undo(self, begun: bool, new: bool) -> None:
        """Ends the connection; removes a record that was `begun` in vain,
        and its folder if that is `new`."""
        with contextlib.suppress(AttributeError, sqlite3.Error):  # not even connected
            self._db.close()
        with contextlib.suppress(OSError):
            for ending in ("", "-wal", "-shm", "-journal") if begun else ():
                (self._folder / f"{FILE}{ending}").unlink(missing_ok=True)
            if new:
                self._folder.rmdir()

    def _rows(self, query: str, values: Sequence[Any] = ()) -> list[Any]:
        try:
            return self._db.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise OutputError(
                f"{self._folder / FILE} cannot be read: {error}; name another folder"
            ) from None

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def lacking(self, method: str, metrics: Sequence[str], batch: int) -> list[str]:
        """The metrics that are still to be measured; none where the method was refused."""
        if "" in self.refusals(method):
            return []
        query = "select metric from done where method = ? and batch = ?"
        done = {metric for (metric,) in self._rows(query, (method, batch))}
        return [
            metric
            for metric in metrics
            if metric not in done and metric not in self.refusals(method)
        ]

    def refusals(self, method: str) -> dict[str, str]:
        """Reasons by metric; "" is the method itself."""
        return dict(self._rows("select metric, reason from refusals where method = ?", (method,)))

    def add_examples(
        self, first: int, names: Sequence[str], asked: Sequence[str], scores: np.ndarray
    ) -> None:
        """What was asked in examples from number `first` on, and the model's probability of it."""
        rows = [
            (first + i, *row)
            for i, row in enumerate(zip(names, asked, map(float, scores), strict=True))
        ]
        with self._whole():
            self._db.executemany("insert or replace into examples values (?, ?, ?, ?)", rows)

    def add(self, method: str, number: int, first: int, batch: Batch) -> None:
        """Writes a batch: its number, and the number of its first example."""
        with self._whole():
            for metric, figures in batch.figures.items():
                self._db.execute(
                    "insert or replace into done values (?, ?, ?)", (method, metric, number)
                )
                rows = [
                    (method, metric, first + i, float(value)) for i, value in enumerate(figures)
                ]
                self._db.executemany("insert or replace into figures values (?, ?, ?, ?)", rows)
            for metric, curves in batch.curves.items():
                for name, points in curves.items():
                    lines = [
                        (method, metric, name, first + i, line.astype("<f4").tobytes())
                        for i, line in enumerate(points)
                    ]
                    self._db.executemany(
                        "insert or replace into curves values (?, ?, ?, ?, ?)", lines
                    )
            for metric, reason in batch.refusals.items():
                self._db.execute(
                    "insert or replace into refusals values (?, ?, ?)", (method, metric, reason)
                )
            for example, levels in batch.maps.items():
                row = (method, example, *levels.shape, levels.tobytes())
                self._db.execute("insert or replace into maps values (?, ?, ?, ?, ?)", row)

    def examples(self) -> list[tuple[str, str, float]]:
        """Name, what was asked, and its probability, in order."""
        return self._rows("select name, asked, score from examples order by example")

    def figures(self, method: str, metric: str) -> dict[int, float]:
        """By the example's number; NaN where a metric says nothing of it."""
        query = (
            "select example, value from figures where method = ? and metric = ? order by example"
        )
        # SQLite keeps a NaN as null
        return {e: float("nan") if v is None else v for e, v in self._rows(query, (method, metric))}

    def curves(self, method: str, metric: str) -> dict[str, np.ndarray]:
        """Arrays [examples,steps] by name."""
        query = (
            "select name, points from curves where method = ? and metric = ? order by name, example"
        )
        found: dict[str, list[np.ndarray]] = {}
        for name, points in self._rows(query, (method, metric)):
            found.setdefault(name, []).append(np.frombuffer(points, "<f4"))
        return {name: np.stack(lines) for name, lines in found.items()}

    def maps(self, method: str) -> dict[int, np.ndarray]:
        """Heatmaps that are shown, uint8 [h,w], by the example's number."""
        query = "select example, height, width, levels from maps where method = ? order by example"
        return {
            example: np.frombuffer(levels, np.uint8).reshape(height, width)
            for example, height, width, levels in self._rows(query, (method,))
        }

    @contextmanager
    def _whole(self) -> Iterator[None]:
        """One transaction: all of it is in the record, or nothing.

        Raises:
            OutputError: the disk is full, say; a later call of `evaluate` goes on.
        """
        try:
            self._db.execute("begin immediate")
            try:
                yield
                self._db.execute("commit")
            except BaseException:
                if self._db.in_transaction:  # SQLite has ended it by itself where the disk is full
                    self._db.execute("rollback")
                raise
        except sqlite3.Error as error:
            raise OutputError(f"{self._folder / FILE} cannot be written: {error}") from None


def _short(value: str) -> str:
    return value if len(value) <= 80 else f"{value[:77]}..."
