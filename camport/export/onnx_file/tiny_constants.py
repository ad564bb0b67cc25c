"""Constants stay what they are: the optimizer of torch.onnx takes what is near 0 for 0 and what is
near 1 for 1.

Its patterns compare with tolerances of 1e-8 and 1e-5, so that `x / (norm + 1e-12)` loses its guard,
and gives NaN where the norm is 0.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import SimpleNamespace

from onnxscript.rewriter import _matcher

_LOCK = Lock()


@contextmanager
def exact_constants() -> Iterator[None]:
    """While open, a pattern's constant stands for itself alone."""
    with _LOCK:
        found = _matcher.math
        _matcher.math = SimpleNamespace(
            **{**vars(math), "isclose": lambda a, b, **tolerances: a == b}
        )
        try:
            yield
        finally:
            _matcher.math = found
