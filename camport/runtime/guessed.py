"""The preprocessing of files that do not say what is done to pixels."""

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from camport.errors import DoubtWarning
from camport.runtime.placement import Placement
from camport.runtime.preprocess import Preprocess


class GuessedPreprocess(Preprocess):
    """That of a file which does not say how its network wants its pictures: neither mean and std
    nor a scale. Pixels / 255 is a guess, and `apply` says so.
    """

    @staticmethod
    def states(values: Mapping[str, Any]) -> bool:
        """Whether a file's `camport.preprocess` says what is done to pixels."""
        return bool({"mean", "std", "scale", "in_graph"} & set(values))

    def apply(self, image: Image.Image | np.ndarray) -> tuple[np.ndarray, Placement]:
        """As `Preprocess.apply`, with a DoubtWarning for pictures of bytes."""
        if not isinstance(image, np.ndarray) or image.dtype == np.uint8:
            warnings.warn(
                "the file does not say how its network wants its pictures; pixels / 255 is a guess,"
                " and wrong answers are its sign: export it from camport.bind(...,"
                " preprocess=...), as camport.models.load_model has it, or by camport export",
                DoubtWarning,
                stacklevel=2,
            )
        return super().apply(image)
