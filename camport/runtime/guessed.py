"""The preprocessing of files that do not say what is done to pixels."""

import json
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

    @classmethod
    def unless_stated(cls, stated: Preprocess | None, entries: Mapping[str, str]) -> Any:
        """`stated`, or a guess of the same where a file's `camport.preprocess` says nothing of
        pixels, or `camport.guessed` names it; None where there is none."""
        text = entries.get("camport.preprocess", "")
        if stated is None or stated.in_graph:
            return stated
        says = {"mean", "std", "scale", "in_graph"} & set(json.loads(text))
        if says and entries.get("camport.guessed") != "preprocess":
            return stated
        return cls.from_json(text)

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
