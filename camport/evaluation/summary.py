"""Tables of an evaluation: means with intervals,
and what is better than a map that knows nothing."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from camport.core.metric import Metric
from camport.errors import MissingDependencyError
from camport.evaluation.named import key
from camport.evaluation.references import REFERENCES
from camport.evaluation.store import Store
from camport.files import write_atomic

FLAT = "flat"
"""Share of maps without any contrast; measured beside whatever metrics were chosen."""

RESAMPLES, LEVEL, SEED = 2000, 0.95, 0


@dataclass(frozen=True)
class Cell:
    """One method by one metric.

    Attributes:
        method, metric: their keys.
        better: "higher" or "lower".
        mean: over examples that have a figure.
        low, high: the percentile bootstrap's interval of the mean, 95 %,
        2000 resamples of the examples.
        examples: how many have a figure.
        gain: the mean by which the method is better than the random map on the same examples; None
            for references.
        gain_low, gain_high: its interval; a method is better than chance where `gain_low` is above
        0.
    """

    method: str
    metric: str
    better: str
    mean: float
    low: float
    high: float
    examples: int
    gain: float | None = None
    gain_low: float | None = None
    gain_high: float | None = None


@dataclass(frozen=True)
class Table:
    """What an evaluation found.

    Attributes:
        cells: in the order of methods, then metrics.
        refusals: (method, metric, reason), metric "" where the method did not fit the model at all.
        ranks: each method's mean rank over the metrics that all ranked methods have, best first.
        values: (method, metric, example, value), every figure.
    """

    cells: tuple[Cell, ...]
    refusals: tuple[tuple[str, str, str], ...]
    ranks: dict[str, float]
    values: tuple[tuple[str, str, str, float], ...]

    def cell(self, method: str, metric: str) -> Cell | None:
        """One of them; None where there is no figure."""
        return next((c for c in self.cells if (c.method, c.metric) == (method, metric)), None)

    def write(self, folder: Path | str) -> list[Path]:
        """table.csv, values.csv and the same as .parquet; each appears whole.

        Raises:
            MissingDependencyError: pyarrow is not installed.
        """
        heads = [f.name for f in fields(Cell)]
        tables: dict[str, tuple[list[str], list[Sequence[Any]]]] = {
            "table": (heads, [list(asdict(c).values()) for c in self.cells]),
            "values": (["method", "metric", "example", "value"], list(self.values)),
        }
        written = []
        for name, (columns, rows) in tables.items():
            written.append(_write(Path(folder) / f"{name}.csv", _csv(columns, rows)))
            written.append(_write(Path(folder) / f"{name}.parquet", _parquet(columns, rows)))
        return written


def summarised(store: Store, methods: Sequence[str], metrics: Sequence[Metric]) -> Table:
    """The table of what is in the record."""
    names = [name for name, _, _ in store.examples()]
    directions = {key(m): m.better for m in metrics} | {FLAT: "lower"}
    cells, values, refusals = [], [], []
    for method in methods:
        refusals += [
            (method, metric, reason) for metric, reason in sorted(store.refusals(method).items())
        ]
        if "" in store.refusals(method):
            continue
        for metric, better in directions.items():
            figures = store.figures(method, metric)
            if metric in store.refusals(method) or not figures:
                continue
            values += [(method, metric, names[e], value) for e, value in figures.items()]
            cells.append(_cell(method, metric, better, figures, store.figures("random", metric)))
    return Table(tuple(cells), tuple(refusals), _ranks(cells, directions), tuple(values))


def _cell(
    method: str, metric: str, better: str, figures: dict[int, float], chance: dict[int, float]
) -> Cell:
    valid = {e: v for e, v in figures.items() if np.isfinite(v)}
    mean, low, high = _interval(list(valid.values()))
    gains: tuple[float | None, ...] = (None,) * 3
    pairs = [v - chance[e] for e, v in valid.items() if e in chance and np.isfinite(chance[e])]
    if pairs and method not in REFERENCES:
        gains = _interval([pair if better == "higher" else -pair for pair in pairs])
    return Cell(method, metric, better, mean, low, high, len(valid), *gains)


def _interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean, and the ends of its interval; both the mean for a single value or equal ones."""
    if not values:
        return (float("nan"),) * 3
    data = np.asarray(values, np.float64)
    mean = float(data.mean())
    if len(data) == 1 or np.ptp(data) == 0:
        return mean, mean, mean
    from scipy.stats import bootstrap

    interval = bootstrap(
        (data,),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=LEVEL,
        method="percentile",
        rng=SEED,
    ).confidence_interval
    return mean, float(interval.low), float(interval.high)


def _ranks(cells: Sequence[Cell], directions: Mapping[str, str]) -> dict[str, float]:
    """Mean rank over metrics with a figure of every method and reference;
    ties share their mean rank."""
    from scipy.stats import rankdata

    methods = list(dict.fromkeys(c.method for c in cells))
    table = {(c.method, c.metric): c.mean for c in cells if np.isfinite(c.mean)}
    ranked = [
        # means that rounding alone tells apart are equal
        rankdata(
            [float(f"{table[m, metric] * (-1 if better == 'higher' else 1):.6g}") for m in methods]
        )
        for metric, better in directions.items()
        if metric != FLAT and all((m, metric) in table for m in methods)
    ]
    if not ranked:
        return {}
    means = dict(zip(methods, map(float, np.mean(ranked, axis=0)), strict=True))
    return dict(sorted(means.items(), key=lambda pair: pair[1]))


def _write(path: Path, data: bytes) -> Path:
    def write(file: IO[bytes]) -> None:
        file.write(data)

    return write_atomic(path, write)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([[repr(v) if isinstance(v, float) else v for v in row] for row in rows])
    return text.getvalue().encode()


def _parquet(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise MissingDependencyError(
            'Parquet files need pyarrow: pip install "camport[evaluate]"'
        ) from None
    sink = pyarrow.BufferOutputStream()
    data = {name: [row[i] for row in rows] for i, name in enumerate(columns)}
    parquet.write_table(pyarrow.table(data), sink)
    return bytes(sink.getvalue())
