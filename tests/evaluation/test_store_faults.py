"""A record whose disk is full: one error, what was written is whole,
and the evaluation goes on from there."""

import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camport.errors import OutputError
from camport.evaluation.store import FILE, Batch, Store
from tests.faults import Contents, fail_each

ROWS = 3


def batch(number: int) -> Batch:
    """Figures, a curve and a map of three examples."""
    values = np.arange(ROWS) + 10.0 * number
    return Batch(
        {"m": values},
        {"m": {"c": np.ones((ROWS, 40))}},
        {},
        {ROWS * number: np.full((9, 9), 7, np.uint8)},
    )


def record(folder: Path) -> None:
    """Two batches, each unless it is there."""
    with Store(folder, {"model": "net"}) as store:
        for number in range(2):
            if store.lacking("way", ["m"], number):
                names = [f"{number}{i}" for i in range(ROWS)]
                store.add_examples(ROWS * number, names, ["top"] * ROWS, np.ones(ROWS))
                store.add("way", number, ROWS * number, batch(number))


def figures(folder: Path) -> dict[int, float]:
    """What is in the record."""
    with Store(folder, {"model": "net"}) as store:
        return store.figures("way", "m")


def test_each_statement_fails_once(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "record"

    def whole(files: Contents) -> bool:
        if not files:
            return not folder.exists()
        found = figures(folder)
        # batches are whole, each alone
        return found in (
            {},
            {0: 0.0, 1: 1.0, 2: 2.0},
            {0: 0.0, 1: 1.0, 2: 2.0, 3: 10.0, 4: 11.0, 5: 12.0},
        )

    told = fail_each(lambda: record(folder), tmp_path / "out", {}, whole)
    assert told.failures == []
    assert told.faults["sql"] > 15
    record(folder)
    assert figures(folder) == {0: 0.0, 1: 1.0, 2: 2.0, 3: 10.0, 4: 11.0, 5: 12.0}


def test_a_record_whose_settings_cannot_be_read_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, closed = sqlite3.connect, []

    class Unread(sqlite3.Connection):
        def execute(self, *arguments: Any) -> sqlite3.Cursor:
            if arguments[0].startswith("select"):
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(*arguments)

        def close(self) -> None:
            closed.append(self)
            super().close()

    folder = tmp_path / "record"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *a, **o: connect(*a, factory=Unread, **o))
        with pytest.raises(OutputError, match="cannot be read: disk I/O error"):
            record(folder)
    assert len(closed) == 1
    assert not folder.exists()  # nothing of a record that was begun in vain


@pytest.mark.parametrize("pages", range(1, 24, 3))
def test_a_disk_of_so_many_pages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    connect = sqlite3.connect

    class Limited(sqlite3.Connection):
        def executescript(self, script: str) -> sqlite3.Cursor:
            self.execute(f"pragma max_page_count = {pages}")
            return super().executescript(script)

    folder = tmp_path / "record"
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda *a, **o: connect(*a, factory=Limited, **o))
        try:
            record(folder)
        except OutputError as error:
            assert "database or disk is full" in str(error)  # noqa: PT017 - the last sizes are enough
            assert folder.exists() == (folder / FILE).exists()
        else:
            assert pages > 10
    record(folder)
    assert figures(folder) == {0: 0.0, 1: 1.0, 2: 2.0, 3: 10.0, 4: 11.0, 5: 12.0}
