"""What the command line has to know of a task: what of a picture is explained,
and how it is asked with no question.

A file says its task's name alone, so this is the one place where names of built-in tasks lead to
what is done. A task with `Field`s needs no entry, nor does one that is asked about a class.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        shown: what is explained and drawn: "map", one map a picture; "boxes", a map for each box;
            "words", one for each word of a text; "answer", one for a text's answer; "region",
            one for the part of a picture.
        example: a target to run the model with, for adapters without one of their own.
        whole: from an image's (height, width) the target that all of it is, where a model finds
            nothing; None: none.
        alike: whether the images themselves are a target: what they are compared with.
        written: of an answer: the model writes it word by word.
        traced: how many boxes a file may be traced with: "each", one a picture; "one", for all of
            them; "none".
        evaluated: how `camport.evaluation.open_data` opens examples for it.
    """

    shown: str = "map"
    example: Mapping[str, Any] | None = None
    whole: Callable[[int, int], dict[str, Any]] | None = None
    alike: bool = False
    written: bool = False
    traced: str = "none"
    evaluated: Mapping[str, bool] = field(default_factory=dict)


_ASKED = {"question": [1, 2]}
TASKS: dict[str, Task] = {
    "captioning": Task("words"),
    "detection": Task(
        "boxes",
        whole=lambda height, width: {"boxes": [[0.0, 0.0, float(width), float(height)]]},
        traced="each",
        evaluated={"detection": True},
    ),
    "segmentation": Task(
        "region",
        whole=lambda height, width: {"class": 0, "box": (0, 0, width, height)},
        traced="one",
    ),
    "similarity": Task(alike=True),
    "vqa": Task("answer", example=_ASKED),
    "vqa-words": Task("answer", example=_ASKED, written=True),
}
"""By the adapter's name."""

ASKED = ("words", "answer", "region")
"""What `camport.targets.asking` asks for."""

PREFERRED = "gradcam, detection odam"
"""The methods that tasks have if none is named, for people."""


def described(name: str) -> Task:
    """The task of an adapter's name; of a name that is not listed the plain one."""
    return TASKS.get(name, Task())


def task_of(metadata: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """The name of the adapter that a file was made with, and its options;
    "" where the file does not say."""
    adapter = metadata.get("adapter")
    if not isinstance(adapter, dict):
        return "", {}
    return str(adapter.get("name", "")), adapter.get("options") or {}
