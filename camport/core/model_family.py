"""What stands before the colon of `--model NAME:...`: a library whose models camport loads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar


class ModelFamily(ABC):
    """Loads the models of one library; a plugin returns such classes from `camport_models`.

    Attributes:
        name: before the colon; letters, digits and underscores.
        title: what the family is, with an example, as `--model`'s help shows it.
        form: what follows the colon.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    form: ClassVar[str] = "NAME"

    @abstractmethod
    def load(
        self, name: str, weights: Path | None, *, pretrained: bool, trust_checkpoint: bool
    ) -> Any:
        """The model called `name`, as `camport.models.Loaded`.

        Args:
            name: what follows the colon.
            weights: a file of weights to load instead of published ones.
            pretrained: whether published weights are loaded where `weights` is None; else random
                ones.
            trust_checkpoint: whether a file that may run code of its own may be loaded.

        Raises:
            UnknownNameError: no such model.
            ModelError: the weights do not fit or cannot be read.
            MissingDependencyError: the library is not installed.
        """
