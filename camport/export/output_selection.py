"""Which outputs a file has: a program that gives some of another's."""

import re
from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor

from camport.errors import InputError, UnknownNameError
from camport.export.traceable import Traceable


class Selected:
    """A program with some of another's outputs, in their own order;
    what computes the others alone is never traced."""

    def __init__(self, program: Traceable, outputs: Sequence[str]) -> None:
        self.program, self.outputs = program, tuple(outputs)
        self.inputs, self.state = program.inputs, program.state
        self.sized = getattr(program, "sized", {})

    def __call__(
        self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """The chosen outputs of the program."""
        values = self.program(state, inputs)
        return {name: values[name] for name in self.outputs}

    def sample(self, images: Tensor, batch: int, seed: int) -> dict[str, Tensor]:
        """The program's."""
        return self.program.sample(images, batch, seed)


def select(program: Traceable, images: Tensor, outputs: Sequence[str] | None) -> Traceable:
    """`program` with the wanted outputs alone; None wants all of them.

    Args:
        program: what to export.
        images: [b,c,H,W], one example batch: the program is run once, to see what it gives.
        outputs: names in the order the file shall have, e.g. ("heatmap", "score"). A name without a
            number takes the numbered ones with it: "feature_maps" is feature_maps, feature_maps_1,
            ...

    Raises:
        InputError: no names, or one text instead of a list of names.
        UnknownNameError: a name that the program does not give.
    """
    check_outputs(outputs)
    if outputs is None:
        return program
    available = tuple(program(program.state, program.sample(images[:1], 1, 0)))
    return Selected(program, chosen(available, outputs))


def check_outputs(outputs: Sequence[str] | None) -> None:
    """Refuses what is no list of names, before anything is run."""
    if outputs is not None and (isinstance(outputs, str) or not outputs):
        raise InputError(
            f'outputs is {outputs!r}; give a list of names, e.g. ("score", "heatmap"), or None'
            " for all"
        )


def chosen(available: Iterable[str], wanted: Iterable[str]) -> tuple[str, ...]:
    """The available names that are wanted, each once."""
    groups: dict[str, list[str]] = {}
    for name in available:
        groups.setdefault(re.sub(r"_\d+$", "", name), []).append(name)
    names = {name: [name] for group in groups.values() for name in group} | groups
    found: dict[str, None] = {}
    for name in wanted:
        if name not in names:
            raise UnknownNameError("output", name, names)
        found.update(dict.fromkeys(names[name]))
    return tuple(found)
