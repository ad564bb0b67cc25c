"""What each entry of a plan costs, as a multiple of the bare forward pass of the same weights in
the same engine.

Run by `camport.bench.launch`; by hand:
`python -m pytest -c camport/bench/pytest.ini --plan FILE camport/bench`.
"""

import dataclasses
from typing import Any

import pytest

from camport.bench.pairs import Pairs
from camport.bench.plan import Entry
from camport.bench.timing import interleave
from camport.errors import CamportError


def test_cost(
    entry: Entry,
    pairs: Pairs,
    seconds: float,
    benchmark: Any,
    record_property: Any,
    synchronize: Any,
) -> None:
    """Bare pass and explanation in turns."""
    benchmark.group = entry.group
    try:
        pair = pairs.pair(entry)
        found = interleave(benchmark, pair.bare, pair.explained, synchronize, seconds)
    except CamportError as error:
        pytest.skip(str(error))
    benchmark.extra_info.update(found, **dataclasses.asdict(entry), layer=pair.layer)
    record_property("ratio", f"{found['ratio_cpu']:.2f} times the bare pass")
