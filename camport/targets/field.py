"""One input of a target: its name in the graph, its kind, and what a user may give for it.

| kind | one row | dtype | on the command line |
|---|---|---|---|
| class | a number, -1 for the model's own choice | int64 | a number or a label |
| integer | a number | int64 | a number |
| number | a number | float32 | a number |
| point | x, y in pixels of the network | float32 [2] | X,Y in pixels of the picture |
| box | x0, y0, x1, y1 in pixels of the network | float32 [4] | L,T,R,B in pixels of the picture |
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camport.errors import InputError

KINDS: dict[str, tuple[type, tuple[int, ...]]] = {
    "class": (np.int64, ()),
    "integer": (np.int64, ()),
    "number": (np.float32, ()),
    "point": (np.float32, (2,)),
    "box": (np.float32, (4,)),
}
"""The dtype and the shape of one row."""


@dataclass(frozen=True)
class Field:
    """One thing that a task may be asked for.

    Args:
        name: of the graph's input.
        kind: one of `KINDS`.
        help: what it is, for people.
        default: of one row, where the user gives none; None: one has to be given.
        least, most: the smallest and the largest value of a class, an integer or a number.

    Raises:
        InputError: a name that is no identifier, an unknown kind, a default of another kind or out
            of range, a range with nothing in it.
    """

    name: str
    kind: str
    help: str = ""
    default: Any = None
    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isidentifier():
            raise InputError(
                f"the field's name is {self.name!r}; it is an identifier, the name of a graph's"
                " input"
            )
        if not isinstance(self.kind, str) or self.kind not in KINDS:
            raise InputError(
                f"the kind of field {self.name!r} is {self.kind!r}; it is one of {', '.join(KINDS)}"
            )
        if not isinstance(self.help, str):
            raise InputError(f"field {self.name!r} has help {self.help!r}; a text")
        self._check_range()
        if self.default is not None:
            self.rows(self.default, 1)

    def _check_range(self) -> None:
        """Refuses a range that is none of numbers, or has nothing in it."""
        given = [end for end in (self.least, self.most) if end is not None]
        shown = f"field {self.name!r} has least {self.least!r} and most {self.most!r}"
        if not all(isinstance(end, int | float) and np.isfinite(end) for end in given):
            raise InputError(f"{shown}; each is a finite number or None")
        if given != sorted(given):
            raise InputError(f"{shown}; the least is no larger than the most")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one row."""
        return KINDS[self.kind][1]

    def rows(self, value: Any, count: int) -> NDArray[Any]:
        """A value for all rows, or one for each, as the graph takes it: [count, *shape].

        Raises:
            InputError: another dtype, shape or range, or no finite number.
        """
        dtype, shape = KINDS[self.kind]
        try:
            array = np.asarray(value)
        except Exception as error:  # ragged lists, and tensors that do not live on the CPU
            raise InputError(
                f"{self.name} {str(value)[:80]!r} is no array: {str(error).splitlines()[0]}"
            ) from None
        wanted = "whole numbers" if dtype is np.int64 else "numbers"
        if (
            array.dtype.kind not in ("iu" if dtype is np.int64 else "iuf")
            or array.dtype == np.bool_
        ):
            raise InputError(
                f"{self.name} is {str(value)[:80]!r} ({array.dtype}); give {wanted},"
                f" {self._shown()}"
            )
        if array.shape not in (shape, (count, *shape)):
            raise InputError(
                f"{self.name} has shape {array.shape}; give {self._shown()}, or one for each of"
                f" {count} images"
            )
        if array.dtype.kind == "u" and array.size and array.max() > np.iinfo(np.int64).max:
            raise InputError(
                f"{self.name} {array.max()} is out of range; the largest is"
                f" {np.iinfo(np.int64).max}"
            )
        with np.errstate(over="ignore"):
            array = np.broadcast_to(array, (count, *shape)).astype(dtype)
        if dtype is np.float32 and not np.isfinite(array).all():
            raise InputError(
                f"{self.name} has values that are NaN or infinite in float32; give finite numbers"
            )
        if self.least is not None and array.size and array.min() < self.least:
            raise InputError(f"{self.name} {array.min()} is out of range; {self._range()}")
        if self.most is not None and array.size and array.max() > self.most:
            raise InputError(f"{self.name} {array.max()} is out of range; {self._range()}")
        return array

    def _range(self) -> str:
        ends = {"least": self.least, "most": self.most}
        return ", ".join(
            f"the {name} is {end:.10g}" for name, end in ends.items() if end is not None
        )

    def parsed(self, text: str) -> Any:
        """What a text of the command line says: a number, several, or a label.

        Raises:
            InputError: it says no such thing.
        """
        parts = text.split(",")
        try:
            numbers = [
                float(part) if KINDS[self.kind][0] is np.float32 else int(part) for part in parts
            ]
        except ValueError:
            if self.kind == "class":
                return text
            raise InputError(
                f"{self.name}={text} is no {self.kind}; give {self._shown()}"
            ) from None
        wanted = max(1, *self.shape) if self.shape else 1
        if len(numbers) != wanted:
            count = f"{len(numbers)} number{'s' * (len(numbers) != 1)}"
            raise InputError(f"{self.name}={text} has {count}; give {self._shown()}")
        return numbers if self.shape else numbers[0]

    def _shown(self) -> str:
        said = {"box": "x0,y0,x1,y1", "point": "x,y", "class": "a class"}.get(
            self.kind, "one number"
        )
        return f"{said} ({self.help})" if self.help else said


def arrays(fields: Sequence[Field], given: Any, count: int) -> dict[str, NDArray[Any]]:
    """A target as the graph takes it: each field by name, or the only one's value.

    Args:
        fields: of the task.
        given: a mapping of names to values, the value of the first field, or None.
        count: rows.

    Raises:
        InputError: a value that does not fit, one that has to be given and is not, or no such
            field.
    """
    named = (
        dict(given)
        if isinstance(given, Mapping)
        else {}
        if given is None
        else {fields[0].name: given}
    )
    for name in named:
        if name not in [field.name for field in fields]:
            raise _unknown(name, fields)
    found = {}
    for field in fields:
        value = named.get(field.name, field.default)
        if value is None:
            raise InputError(f"the target has no {field.name}; give {field._shown()}")
        found[field.name] = field.rows(value, count)
    return found


def described(fields: Sequence[Field]) -> list[dict[str, Any]]:
    """The fields as JSON values, for the metadata of a file."""
    return [
        {
            name: value
            for name, value in dataclasses.asdict(field).items()
            if value not in (None, "")
        }
        for field in fields
    ]


def read(values: Any) -> tuple[Field, ...]:
    """The fields of a file's metadata.

    Raises:
        InputError: they are not what `described` gives.
    """
    names = [field.name for field in dataclasses.fields(Field)]
    if not isinstance(values, list) or not all(
        isinstance(value, dict) and set(value) <= set(names) for value in values
    ):
        raise InputError(
            f"target must be a list of objects with {', '.join(names)}; it is {str(values)[:60]}"
        )
    try:
        return tuple(Field(**value) for value in values)
    except TypeError as error:
        raise InputError(f"a field of the target has {error}") from None


def split(text: str, fields: Sequence[Field]) -> tuple[Field, str]:
    """The field that NAME=VALUE names, the first where it is a value alone, and the value's text.

    Raises:
        InputError: no such field.
    """
    name, equals, value = text.partition("=")
    if not equals:
        return fields[0], text
    for field in fields:
        if field.name == name.strip():
            return field, value.strip()
    raise _unknown(name, fields)


def _unknown(name: Any, fields: Sequence[Field]) -> InputError:
    return InputError(
        f"the target has no {str(name)[:80]!r}; it has {', '.join(field.name for field in fields)}"
    )
