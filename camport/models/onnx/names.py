"""Names of nodes as modules: readable, unique, and without the dots that separate modules."""

import re
from collections.abc import Iterable

from torch import nn

_TAKEN = frozenset(dir(nn.Module())) | {
    "plan",
    "stored",
    "layer_aliases",
    "target_layer",
    "num_classes",
}


def readable(name: str) -> str:
    """Everything but letters and digits as underscores: "/a/b.0/Conv" is "a_b_0_Conv"."""
    cleaned = re.sub(r"[^0-9A-Za-z]+", "_", name).strip("_")
    return cleaned or "node"


class Names:
    """Gives each node a name that no other has,
    and keeps under which other names it may be asked for."""

    def __init__(self) -> None:
        self.used: set[str] = set()
        self.aliases: dict[str, str] = {}

    def new(self, wanted: str) -> str:
        """`wanted` made readable, with a number behind it where it is taken."""
        base = readable(wanted)
        name, count = base, 1
        while name in self.used or name in _TAKEN:
            count += 1
            name = f"{base}_{count}"
        self.used.add(name)
        return name

    def also(self, name: str, others: Iterable[str], *, last: bool = False) -> None:
        """`others` mean `name` too, unless they mean something already;
        with `last` the newest meaning counts."""
        for other in others:
            if other and (last or other not in self.aliases):
                self.aliases[other] = name

    def also_from(self, weaker: "Names") -> None:
        """Takes over aliases that mean nothing yet."""
        for other, name in weaker.aliases.items():
            self.aliases.setdefault(other, name)
