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
        guessed: nothing tells how the model wants its pictures, and `preprocess` is a guess:
            pixels / 255.
        notes: what a user has to know of how the model was read, a sentence each; the command line
            prints them.
    """

    model: nn.Module
    preprocess: Preprocess = field(default_factory=Preprocess)
    labels: tuple[str, ...] = ()
    layer: str | None = None
    adapter: str = "classification"
    guessed: bool = False
    notes: tuple[str, ...] = ()
