"""`python -m benchmarks NAME [options]`: runs one of the benchmarks;
without a name it lists them."""

import importlib
import sys

BENCHMARKS = {
    "beside": "cost.beside",
    "detection": "detectors.detection",
    "detectors": "detectors.detectors",
    "engines": "engines.engines",
    "evaluation_share": "cost.evaluation_share",
    "faults": "robustness.faults",
    "foreign": "networks.foreign",
    "formats": "networks.formats",
    "gpu": "gpu",
    "imports": "networks.imports",
    "lives": "robustness.lives",
    "loops": "cost.loops",
    "methods": "cost.methods",
    "networks": "networks.networks",
    "quality": "quality.quality",
    "quality_notes": "quality.notes",
    "sanity": "quality.sanity",
    "table": "cost.table",
    "tasks": "quality.tasks",
}
"""The module of each name."""


def main() -> int:
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in BENCHMARKS:
        names = ", ".join(BENCHMARKS)
        print(
            f"python -m benchmarks: no benchmark is called {name!r}; there are {names}",
            file=sys.stderr,
        )
        return 2
    sys.argv[:2] = [f"python -m benchmarks {name}"]
    return importlib.import_module(f"benchmarks.{BENCHMARKS[name]}").main() or 0


if __name__ == "__main__":
    sys.exit(main())
