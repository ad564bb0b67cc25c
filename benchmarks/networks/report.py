"""The table of networks as Markdown."""

from collections.abc import Iterable
from typing import Any

from benchmarks.networks.list import NETWORKS, Network

NOTES = "## Notes"
"""What stands below this heading is written by hand and kept."""

HEAD = """\
# Which networks export

{date}. {versions}.

`python -m benchmarks networks` exports Grad-CAM at the last and at a middle layer of each network to ONNX, batch
dynamic, and writes this file; `python -m benchmarks networks --ratios` adds the last column. Random weights, none at
its neutral value, batch-norm statistics those of the network's own activations, images of noise.

- **heatmap**, **gradients**: relative l2 error of the file's output in ONNX Runtime against float64, on inputs that
  were not traced; in brackets that of eager PyTorch in float32, the worst of several draws with the input's last bit
  moved. A file is refused where its error exceeds both 3 times the latter and 10⁻⁵.
- **nodes**, **MB**: of the file, and over those of the bare model's file by plain `torch.onnx.export`.
- **seconds** to export, parity included, on one shared core.
- **ratio**: CPU time of prediction and explanation over the bare file's, both in ONNX Runtime, batch 1, one thread,
  the two taking turns; median of the rounds, quartiles in brackets. CPU time of the process, since the machine was not
  at rest: other processes took the second core and a share of the caches.
"""
COLUMNS = (
    "network",
    "layer",
    "heatmap",
    "gradients",
    "nodes",
    "over bare",
    "MB",
    "over bare",
    "seconds",
    "ratio",
)


def markdown(results: dict[str, Any], old: str) -> str:
    """The file's text; `old` is what it held before, whose notes are kept."""
    rows = {(row["name"], row["layer"]): row for row in results["rows"]}
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        _line(n, layer, rows[n.name, layer]) for n, layer in _pairs() if (n.name, layer) in rows
    ]
    parts = [HEAD.format(date=results["date"], versions=versions), _table(COLUMNS, lines)]
    aims = [
        (n.name, layer, f"{limit:.2f}", _ratio(rows.get((n.name, layer), {})))
        for n in NETWORKS
        for layer, limit in n.limits.items()
    ]
    parts.append("## Ratios aimed at")
    parts.append(_table(("network", "layer", "at most", "ratio"), aims))
    if NOTES in old:
        parts.append(old[old.index(NOTES) :])
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _pairs() -> Iterable[tuple[Network, str]]:
    return ((network, layer) for network in NETWORKS for layer in network.layers)


def _line(network: Network, layer: str, row: dict[str, Any]) -> tuple[str, ...]:
    if "error" in row:
        return (network.name, layer, row["error"].replace("|", "/"), *[""] * (len(COLUMNS) - 3))
    return (
        network.name,
        layer,
        *(
            f"{row[f'{output}_exported']:.1e} ({row[f'{output}_eager']:.1e})"
            for output in ("heatmap", "gradients")
        ),
        str(row["nodes"]),
        f"{row['nodes'] / row['bare_nodes']:.2f}",
        f"{row['bytes'] / 1e6:.1f}",
        f"{row['bytes'] / row['bare_bytes']:.3f}",
        f"{row['seconds']:.0f}",
        _ratio(row),
    )


def _ratio(row: dict[str, Any]) -> str:
    if "ratio_cpu" not in row:
        return "-"
    low, high = row["ratio_cpu_quartiles"]
    return f"{row['ratio_cpu']:.2f} [{low:.2f}, {high:.2f}]"


def _table(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    rule = tuple(":---" if i < 2 else "---:" for i in range(len(head)))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *lines))
