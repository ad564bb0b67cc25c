"""MLflow: pictures and numbers of explanations among a run's artifacts."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camport.bridges.packages import package

if TYPE_CHECKING:
    from camport.core import Explanation


def log_explanation(
    explanation: Explanation, name: str, images: Any = None, *, step: int | None = None
) -> None:
    """Logs to the active run: `name/0.png`, ... the overlays, `name/explanation.npz` all numbers,
    and the scores.

    Args:
        explanation: of one image or several.
        name: folder of the artifacts, and first part of the metrics `name.score.0`, ...
        images: as `Explanation.overlay` takes them; the explained images where left out.
        step: of the training, for the metrics.

    Raises:
        MissingDependencyError: mlflow is not installed.
    """
    mlflow = package("mlflow", "mlflow")
    for row, picture in enumerate(explanation.overlay(images)):
        mlflow.log_image(picture, f"{name}/{row}.png")
    with tempfile.TemporaryDirectory() as folder:
        mlflow.log_artifact(str(explanation.save(Path(folder) / "explanation.npz")), name)
    mlflow.log_metrics(
        {f"{name}.score.{row}": s for row, s in enumerate(explanation.score.tolist())}, step=step
    )
