"""How many faults were made on purpose and what they led to, for a page of figures:
`counted(folder)`."""

import os
from pathlib import Path

from tests.evaluation.test_store_faults import figures, record
from tests.faults import Contents, Told, fail_each, kill_each
from tests.view.test_save_faults import KINDS, saving, whole


def counted(folder: Path) -> dict[str, Told]:
    """Every operation of saving and of an evaluation's record fails once,
    and is the last one once."""
    found = {}
    for name in KINDS:
        work, there = saving(folder / name), {name: b"old"}
        found[f"{name}, each operation fails"] = fail_each(work, folder, there, whole)
        if hasattr(os, "fork"):
            found[f"{name}, killed at each operation"] = kill_each(work, folder, there, whole)
    place = folder / "record"

    def complete(files: Contents) -> bool:
        return not files or len(figures(place)) in (0, 3, 6)  # batches of three examples

    found["evaluate's record, each operation fails"] = fail_each(
        lambda: record(place), folder, {}, complete
    )
    return found
