"""Do two files explain the same? Asked of an int8 file and the float32 file it was made from,
and a gate.

8 bits round each activation to 256 levels, so what is asked is not equality but that the map shows
the same places. The measure is Pearson's correlation of each image's values, averaged over images;
below `LOWEST` the file is refused, and so it is where anything is not a number. How much more is
enough is the user's to judge: the report tells it.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from camport.errors import ParityError
from camport.export.report import Agreement, OutputAgreement

LOWEST = 0.8
"""Mean correlation of `outputs` and of `heatmap`, below which an int8 file is refused."""

JUDGED = ("outputs", "heatmap")


def agreement(reference: Any, quantised: Any, feeds: Iterable[dict[str, np.ndarray]]) -> Agreement:
    """Runs both on the same images and targets.

    Args:
        reference: session of the float32 file.
        quantised: session of the int8 file.
        feeds: inputs by name; classes in `target` become the reference's top class, so that both
            explain the same.

    Raises:
        ParityError: naming the output, its correlation and the bound.
    """
    names = [output.name for output in reference.get_outputs()]
    pairs: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {name: [] for name in names}
    same: list[bool] = []
    for feed in feeds:
        feed = _own_choice(reference, names, feed)
        one, other = reference.run(names, feed), quantised.run(names, feed)
        for name, expected, got in zip(names, one, other, strict=True):
            pairs[name] += [
                (np.atleast_1d(a), np.atleast_1d(b)) for a, b in zip(expected, got, strict=True)
            ]
    if all(expected.ndim == 1 and expected.size > 1 for expected, _ in pairs.get("outputs", [])):
        same = [
            int(expected.argmax()) == int(got.argmax())
            for expected, got in pairs.get("outputs", [])
        ]
    outputs = {
        name: _measured(pair) for name, pair in pairs.items() if pair[0][0].dtype.kind == "f"
    }
    for name, found in outputs.items():
        if not np.isfinite([found.error, found.correlation]).all():
            raise ParityError(
                f"output {name!r} of the int8 graph has values that are not finite; export it in"
                " float16"
            )
        if name in JUDGED and found.correlation < LOWEST:
            raise ParityError(
                f"output {name!r} of the int8 graph correlates with float32 by"
                f" {found.correlation:.2f}, at least {LOWEST} is asked: calibrate on more images"
                " like those it will see, or export it in float16"
            )
    return Agreement(
        outputs, len(next(iter(pairs.values()))), float(np.mean(same)) if same else None
    )


def _own_choice(
    session: Any, names: list[str], feed: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """`feed` with the session's own top classes as target, where it has such."""
    if "target" not in feed or "outputs" not in names:
        return feed
    (logits,) = session.run(["outputs"], feed)
    return {**feed, "target": logits.argmax(1)} if logits.ndim == 2 else feed


def _measured(pairs: list[tuple[np.ndarray, np.ndarray]]) -> OutputAgreement:
    flat = [
        (one.ravel().astype(np.float64), other.ravel().astype(np.float64)) for one, other in pairs
    ]
    expected, got = (np.concatenate([pair[i] for pair in flat]) for i in (0, 1))
    scale = np.linalg.norm(expected)
    error = np.linalg.norm(got - expected) / (scale if scale > 0 else 1.0)
    each = (
        [_correlation(one, other) for one, other in flat]
        if flat[0][0].size > 1
        else [_correlation(expected, got)]
    )
    return OutputAgreement(float(error), float(np.mean(each)), float(np.min(each)))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's; of two constants 1, of one constant and something else 0."""
    a, b = one - one.mean(), other - other.mean()
    scale = np.linalg.norm(a) * np.linalg.norm(b)
    if scale == 0:
        return float(not a.any() and not b.any())
    return float(a @ b / scale)
