"""Class names to class indices."""

import re

from camport.errors import InputError, UnknownNameError


def class_index(name: str, labels: tuple[str, ...] | None) -> int:
    """The index of a class given by its name, or by its number as text ("281").

    Case does not matter, and of labels that list synonyms ("tabby, tabby cat") each one will do.

    Raises:
        UnknownNameError: no label is called that; the nearest are offered.
        InputError: several classes are called that, or the graph carries no labels.
    """
    # int() takes "1_0" and other scripts' digits too
    if re.fullmatch(r"\s*[+-]?[0-9]{1,4000}\s*", name):
        return int(name)
    if labels is None:
        raise InputError(f"target {name!r} is a name, but no labels are known: give the number")
    wanted = name.strip().lower()
    found = [i for i, label in enumerate(labels) if label.lower() == wanted]
    synonyms = [[part.strip().lower() for part in label.split(",")] for label in labels]
    found = found or [i for i, parts in enumerate(synonyms) if wanted in parts]
    if len(found) > 1:
        which = ", ".join(f"{i} ({labels[i]})" for i in found)
        raise InputError(
            f"target {name!r} is the name of {len(found)} classes, {which}: give the number"
        )
    if not found:
        parts = {part.strip() for label in labels for part in label.split(",")}
        raise UnknownNameError("label", name, parts | set(labels))
    return found[0]
