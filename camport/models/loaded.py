"""What loading a model gives."""

from dataclasses import dataclass, field

from torch import nn

from camport.runtime import Preprocess


@dataclass(frozen=True)
class Loaded:
    """A model and what is known about it.

    Attributes:
        model: in evaluation mode, on the CPU.
        preprocess: how it wants its pictures.
        labels: names of its classes, empty where they are not known.
        layer: its target layer where the one that would be chosen is not the best.
        adapter: the name of its task's adapter.
    """

    model: nn.Module
    preprocess: Preprocess = field(default_factory=Preprocess)
    labels: tuple[str, ...] = ()
    layer: str | None = None
    adapter: str = "classification"
