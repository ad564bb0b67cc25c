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
        adapter: the name of the adapter's argument that it sets;
            "" where it is a part of the target.
    """

    flag: str
    commands: tuple[str, ...]
    help: str
    metavar: str = ""
    kind: Any = str
    least: float | None = None
    most: float | None = None
    adapter: str = ""

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
    ),
    Option(
        "--confidence",
        ("explain", "run", "export"),
        "Detection: explain those found with this confidence; 0.25.",
        *("P", float, 0, 1),
        adapter="threshold",
    ),
    Option(
        "--iou",
        ("export",),
        "Detection: of two of a class that overlap by more, the less confident one goes; 0.45.",
        *("IOU", float, 0, 1),
        adapter="iou",
    ),
    Option(
        "--most",
        ("export",),
        "Detection: so many of an image at most, the best ones; 10.",
        *("N", int, 1),
        adapter="most",
    ),
    Option(
        "--format",
        ("explain", "export", "layers"),
        "Detection: what the outputs are, where their shape leaves it open.",
        "NAME",
        adapter="format",
    ),
    Option(
        "--scores",
        ("explain", "export", "layers"),
        "Classification: which of several outputs holds the classes, by name or number; chosen if"
        " left out.",
        "NAME",
        adapter="output",
    ),
    Option(
        "--caption",
        ("run",),
        "Captioning: the caption whose words are explained.",
        "TEXT",
    ),
    Option(
        "--question",
        ("explain", "run"),
        'Question answering: e.g. "how many sevens?".',
        "TEXT",
    ),
)
"""In the order in which they are listed."""


def arguments(task: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The adapter's arguments that were given; none: it is made as it is.

    Raises:
        InputError: an option, and another task.
        UnknownNameError: no such format.
    """
    scores = given.get("scores")
    if scores is not None:
        if task != "classification":
            raise InputError(
                f"--scores {scores} is for --adapter classification, and the task is {task}"
            )
        return {"output": scores}
    said = {option: given.get(option.name) for option in OPTIONS if option.adapter}
    said = {option: value for option, value in said.items() if value is not None}
    if said and task != "detection":
        flags = " and ".join(option.flag for option in said)
        raise InputError(f"{flags}: for --adapter detection, and the task is {task}")
    form = given.get("format")
    if form is not None and form not in FORMATS:
        raise UnknownNameError("format", form, FORMATS)
    return {option.adapter: value for option, value in said.items()}


def refuse(task: str, given: Mapping[str, Any]) -> None:
    """InputError for parts of a target that a task with one map a picture does not take."""
    if given.get("question") is not None:
        raise InputError(f"--question is for --adapter vqa, and the task is {task}")
    if given.get("box") or given.get("confidence") is not None:
        raise InputError(
            f"--box and --confidence are for --adapter detection, and the task is {task}"
        )


def refuse_of_file(task: str, given: Mapping[str, Any], file: Any) -> None:
    """The same for a file."""
    if given.get("caption") is not None or given.get("question") is not None:
        raise InputError(
            f"--caption and --question are for files of captioning and vqa, and this is of {task}"
        )
    if given.get("box") or given.get("confidence") is not None:
        raise InputError(f"--box and --confidence are for detectors, and {file} takes no boxes")
