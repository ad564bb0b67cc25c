"""Exports every common network and writes what came out: `python -m benchmarks networks`.

Results are kept in a JSON file after each network; what is finished is not run again, so the
command can be stopped at any time. Each network has a process of its own: what one leaves in
memory, or dies of, is not the next one's.
"""

import argparse
import datetime
import json
import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.networks.list import NETWORKS, Network, named
from benchmarks.networks.measure import Row, exported, timed
from benchmarks.networks.report import markdown
from camport.bench.machine import versions

HERE = Path(__file__).parents[1]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; 1 where a network does not export."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks networks", description=__doc__)
    parser.add_argument(
        "--only", default="*", help="networks: patterns separated by commas, 'timm/*,resnet50'"
    )
    parser.add_argument("--ratios", action="store_true", help="time the exported files instead")
    parser.add_argument("--again", action="store_true", help="run what is finished too")
    parser.add_argument(
        "--seconds", type=float, default=10, help="how long a ratio is measured, roughly"
    )
    parser.add_argument(
        "--files", type=Path, help="keep the exported files here; what is there is not made again"
    )
    parser.add_argument(
        "--json", type=Path, default=HERE / "networks.json", help="where results are kept"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=HERE / "NETWORKS.md", help="the Markdown file"
    )
    given = parser.parse_args(arguments)
    chosen = named(given.only)
    if not chosen:
        parser.error(
            f"no network is named {given.only!r}; there are {', '.join(n.name for n in NETWORKS)}"
        )
    results = _Results(given.json, given.output)
    for network in chosen:
        for layers in [(layer,) for layer in network.layers] if given.ratios else [network.layers]:
            done = "ratio_cpu" if given.ratios else "nodes"
            if not given.again and all(
                done in results.row(network.name, layer) for layer in layers
            ):
                continue
            if given.ratios and "nodes" not in results.row(network.name, layers[0]):
                continue  # not exported, or not at all
            with _folder(given.files) as folder:
                if given.ratios:
                    found = _alone(_ratio, network, layers[0], folder, given.seconds)
                else:
                    found = _alone(exported, network, folder)
            results.add(network, found)
    return int(any("error" in results.row(n.name, layer) for n in chosen for layer in n.layers))


def _ratio(network: Network, layer: str, folder: Path, seconds: float) -> list[Row]:
    return [{"name": network.name, "layer": layer, **timed(network, layer, folder, seconds)}]


def _alone(function: Callable[..., list[Row]], network: Network, *arguments: Any) -> list[Row]:
    """`function(network, ...)` in a process of its own;
    an error of every layer where it raises or dies."""
    context = multiprocessing.get_context("spawn")
    try:
        with ProcessPoolExecutor(1, context) as pool:
            return pool.submit(function, network, *arguments).result()
    except Exception as error:  # whatever a network does, the others are still wanted
        first_line = (str(error).strip() or "no reason given").splitlines()[0]
        text = f"{type(error).__name__}: {first_line}"
        return [{"name": network.name, "layer": layer, "error": text} for layer in network.layers]


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory() as scratch:
        yield Path(scratch)


class _Results:
    """The rows measured so far, in a JSON file and as Markdown."""

    def __init__(self, file: Path, table: Path) -> None:
        self.file, self.table = file, table
        self.rows: list[Row] = (
            json.loads(file.read_text(encoding="utf-8"))["rows"] if file.is_file() else []
        )

    def row(self, name: str, layer: str) -> Row:
        """What is known of one network at one layer."""
        return next((row for row in self.rows if (row["name"], row["layer"]) == (name, layer)), {})

    def add(self, network: Network, found: list[Row]) -> None:
        """Adds a ratio to what is known of a file, or replaces it by what is known of a new one;
        writes both files."""
        for row in found:
            old = self.row(row["name"], row["layer"])
            self.rows = [other for other in self.rows if other is not old]
            self.rows.append({**old, **row} if "ratio_cpu" in row else row)
            shown = row.get("error") or ", ".join(
                f"{k} {v:.4g}" for k, v in row.items() if isinstance(v, int | float)
            )
            print(f"{row['name']} {row['layer']}: {shown}", flush=True)
        order = {
            pair: i
            for i, pair in enumerate((n.name, layer) for n in NETWORKS for layer in n.layers)
        }
        self.rows.sort(key=lambda row: order.get((row["name"], row["layer"]), len(order)))
        results = {"date": f"{datetime.date.today()}", "versions": _versions(), "rows": self.rows}
        _write(self.file, json.dumps(results, indent=1) + "\n")
        old_text = self.table.read_text(encoding="utf-8") if self.table.is_file() else ""
        _write(self.table, markdown(results, old_text))


def _versions() -> dict[str, str]:
    from importlib import metadata

    own = {
        k: v
        for k, v in versions().items()
        if k in ("camport", "torch", "torchvision", "onnxruntime")
    }
    return own | {k: metadata.version(k) for k in ("timm", "transformers")}


def _write(file: Path, text: str) -> None:
    draft = file.with_name(file.name + ".tmp")
    draft.write_text(text, encoding="utf-8")
    os.replace(draft, file)
