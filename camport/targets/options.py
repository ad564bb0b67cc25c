"""The options of the command line that belong to tasks, as data;
`camport.cli.given` makes options of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from camport.errors import InputError, UnknownNameError
from camport.targets.boxes import FORMATS


@dataclass(frozen=True)
class Option:
    """One of them.

    Attributes:
        flag: as it is written; without its dashes the name in what was given.
        commands: which have it.
        help: for people.
        metavar: what stands for its value; "" of a switch.
        kind: of the value; list of texts, several times.
        least: its smallest value.
        most: its largest.
        adapter: the name of the adapter's argument that it sets; "" where it is a part of the
            target.
        tasks: that it is for; none: the command itself refuses it where it does not fit.
    """

    flag: str
    commands: tuple[str, ...]
    help: str
    metavar: str = ""
    kind: Any = str
    least: float | None = None
    most: float | None = None
    adapter: str = ""
    tasks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """As a parameter."""
        return self.flag.removeprefix("--").replace("-", "_")


OPTIONS = (
    Option(
        "--nms",
        ("export",),
        "Detection: the file suppresses overlapping boxes; one more output.",
        kind=bool,
    ),
    Option(
        "--one-image",
        ("export",),
        "For one image and any number of targets; with --nms, its detections.",
        kind=bool,
    ),
    Option(
        "--box",
        ("explain", "run", "export"),
        "Detection: explain what is found here, in the picture's pixels; may be given several"
        " times.",
        "L,T,R,B",
        list[str],
        tasks=("detection", "segmentation"),
    ),
    Option(
        "--confidence",
        ("explain", "run", "export"),
        "Detection: explain those found with this confidence; 0.25.",
        *("P", float, 0, 1),
        adapter="threshold",
        tasks=("detection",),
    ),
    Option(
        "--iou",
        ("export",),
        "Detection: of two of a class that overlap by more, the less confident one goes; 0.45.",
        *("IOU", float, 0, 1),
        adapter="iou",
        tasks=("detection",),
    ),
    Option(
        "--most",
        ("export",),
        "Detection: so many of an image at most, the best ones; 10.",
        *("N", int, 1),
        adapter="most",
        tasks=("detection",),
    ),
    Option(
        "--format",
        ("explain", "export", "layers"),
        "Detection: what the outputs are, where their shape leaves it open.",
        "NAME",
        adapter="format",
        tasks=("detection",),
    ),
    Option(
        "--scores",
        ("explain", "export", "layers"),
        "Classification: which of several outputs holds the classes, by name or number; chosen if"
        " left out.",
        "NAME",
        adapter="output",
        tasks=("classification",),
    ),
    Option(
        "--caption",
        ("run",),
        "Captioning: the caption whose words are explained; of vqa-words the answer.",
        "TEXT",
        tasks=("captioning", "vqa-words"),
    ),
    Option(
        "--question",
        ("explain", "run"),
        'Question answering: e.g. "how many sevens?".',
        "TEXT",
        tasks=("vqa", "vqa-words"),
    ),
)
"""In the order in which they are listed."""


def check(task: str, given: Mapping[str, Any], of: str = "--adapter") -> None:
    """InputError for options that were given and are another task's.

    Args:
        task: the adapter's name; "" of a file that does not say, classification.
        given: the values by the options' names.
        of: what has the task: `--adapter`, or "files of".
    """
    task = task or "classification"
    this = "the task is" if of.startswith("--") else "this one is of"
    for option in OPTIONS:
        value = given.get(option.name)
        if option.tasks and task not in option.tasks and value not in (None, []):
            tasks = " or ".join(option.tasks)
            shown = " ".join(value) if isinstance(value, list) else value
            raise InputError(f"{option.flag} {shown} is for {of} {tasks}, and {this} {task}")


def arguments(task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The adapter's arguments that were given; none: it is made as it is.

    Raises:
        InputError: an option of another task.
        UnknownNameError: no such format.
    """
    check(task, given)
    form = given.get("format")
    if form is not None and form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    said = {option.adapter: given.get(option.name) for option in OPTIONS if option.adapter}
    return {name: value for name, value in said.items() if value is not None}
