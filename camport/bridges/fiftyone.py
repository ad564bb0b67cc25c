"""FiftyOne: maps as labels of samples, drawn over the photographs in its app."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from camport.bridges.packages import package

if TYPE_CHECKING:
    from camport.core import Explanation


def heatmaps(explanation: Explanation) -> list[Any]:
    """One `fiftyone.Heatmap` of each row, its range [0,1]:
    `sample["gradcam"] = heatmaps(explanation)[0]`.

    Each has the method, the explained class and its score as attributes. FiftyOne stretches a map
    over its photograph, so that images that were cropped or padded have to be uncropped first.

    Raises:
        MissingDependencyError: fiftyone is not installed.
    """
    fo = package("fiftyone", "fiftyone")
    numbers = explanation.numbers()
    return [
        fo.Heatmap(
            map=heat,
            range=[0, 1],
            method=explanation.method,
            score=float(score),
            target=target.tolist(),
        )
        for heat, score, target in zip(
            numbers["heatmap"], numbers["score"], numbers["target"], strict=True
        )
    ]
