"""How many images run through a module. The counts are global: what a hook or a module holds,
a private copy copies."""

from torch import nn

COUNTS: dict[int, list[int]] = {}


def seen_by(module: nn.Module) -> list[int]:
    """How many images go through the module, run by run."""
    key = len(COUNTS)
    COUNTS[key] = []

    def count(_module, args, _output, key=key):
        COUNTS[key].append(len(args[0]))

    module.register_forward_hook(count)
    return COUNTS[key]


class Counted(nn.Module):
    """Counts the images that a module is run on; a stand-in of its forward, as a tail has it,
    is no run."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module, self.key = module, len(COUNTS)
        COUNTS[self.key] = []

    @property
    def images(self) -> list[int]:
        return COUNTS[self.key]

    def forward(self, x):
        COUNTS[self.key].append(len(x))
        return self.module(x)
