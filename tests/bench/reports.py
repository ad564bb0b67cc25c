"""Runs as pytest-benchmark reports them, made up."""

from typing import Any


def report(figures: dict[str, tuple[float, float, float]], **machine: Any) -> dict[str, Any]:
    """A run of methods with (low, median, high) of their CPU ratios;
    wall ratios say something else."""
    info = {
        "cpu": {"brand_raw": "A Processor", "count": 2},
        "processor": "x86_64",
        "device": "cpu",
        "device_line": "A Processor, 1 thread",
        "threads": 1,
        "python_version": "3.11.7",
        "versions": {"camport": "0.1.0"},
    }
    rows = [
        {
            "network": {"spec": "demo:digits", "weights": None, "size": None},
            "method": method,
            "engine": "eager",
            "batch": 1,
            "layer": "layer3",
            "ratio_cpu": median,
            "ratio_cpu_quartiles": [low, high],
            "ratio_wall": 9.0,
            "ratio_wall_quartiles": [9.0, 9.0],
            "cpu_ms": median,
            "bare_cpu_ms": 1.0,
            "wall_ms": 9.0,
            "bare_wall_ms": 1.0,
        }
        for method, (low, median, high) in figures.items()
    ]
    return {
        "machine_info": info | machine,
        "benchmarks": [{"group": "demo:digits, batch 1", "extra_info": row} for row in rows],
        "datetime": "2026-11-28T00:00:00",
        "left_out": {},
        "failed": {},
    }
