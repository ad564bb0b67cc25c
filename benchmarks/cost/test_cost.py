"""What an explanation costs, as a multiple of the bare forward pass of the same weights in the same
engine."""

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.kit.cases import Entry, entries
from benchmarks.kit.sides import Sides
from camport.bench.timing import interleave

GATED = ("resnet50-layer4-torch-gradcam", "resnet50-layer4-onnx-gradcam")


@pytest.mark.parametrize("entry", list(entries()), ids=str)
def test_cost(
    entry: Entry,
    sides: Sides,
    benchmark: Any,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    """Bare pass and explanation in turns; "bare" against itself shows the noise."""
    baseline, subject, layer = sides.pair(entry)
    benchmark.group = entry.case.name
    found = interleave(
        benchmark, baseline, subject, sides.synchronize, request.config.getoption("--seconds")
    )
    benchmark.extra_info.update(
        found,
        case=entry.case.name,
        model=entry.case.model,
        layer=layer,
        engine=entry.engine,
        what=entry.what,
    )
    if not found:
        return
    record_property("ratio", f"{found['ratio_cpu']:.3f} CPU, {found['ratio_wall']:.3f} wall")
    gate, figure = (
        request.config.getoption("--gate"),
        "ratio_wall" if sides.device == "cuda" else "ratio_cpu",
    )
    if gate and str(entry) in GATED:
        assert found[figure] <= gate, (
            f"{entry}: {found[figure]:.3f} times the bare forward pass; the gate is {gate}"
        )
