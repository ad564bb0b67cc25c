"""What a method's class tells of itself, read from its traits and its docstring:
one source for lists and manuals.

A docstring begins with one sentence, has its equations as `.. math::`, and says in paragraphs of
their own what departs from the paper ("Deviation: "), what the map is ("Map: ") and what it costs
("Cost: "). What is missing stays empty.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from camport.core.explainer import Explainer

_PLACES = re.compile(r"eq\. \d+(?:(?:, | and | to )\d+)*|(?:section|algorithm) [0-9IVX]+(?:\.\d+)*")
_LABELS = re.compile(r"^(Map|Cost|Deviations?): ", re.MULTILINE)


def titles_of(explainers: Sequence[Explainer]) -> list[str]:
    """A name for each: its title, with its options where one method comes twice."""
    titles = [getattr(type(one), "title", type(one).__name__) for one in explainers]
    return [
        title if titles.count(title) == 1 else f"{title} {i + 1}: {one}"
        for i, (title, one) in enumerate(zip(titles, explainers, strict=True))
    ]


@dataclass(frozen=True)
class Option:
    """One field of a method: its name, its default as Python writes it,
    and what the docstring says of it."""

    name: str
    default: str
    text: str


@dataclass(frozen=True)
class Description:
    """A method in words.

    Attributes:
        cls: the class, which has the traits.
        summary: the first sentence.
        equations: in LaTeX.
        text: the other paragraphs, as reStructuredText.
        deviations: from the paper; empty where there are none.
        map: shape, place and range of the raw map, e.g. "[b,h,w] of the layer, >= 0".
        cost: forward and backward passes an image, e.g. "`1 + c` forward passes, one a channel".
        options: the fields.
        places: where in the paper, e.g. "eq. 1 and 2".
        link: to the paper; empty where there is none.
    """

    cls: type[Explainer]
    summary: str
    equations: tuple[str, ...]
    text: tuple[str, ...]
    deviations: str
    map: str
    cost: str
    options: tuple[Option, ...]
    places: str
    link: str

    @property
    def signed(self) -> bool:
        """Whether raw maps have negative values, as far as the docstring says."""
        return "signed" in self.map.split(";")[0]

    @property
    def passes(self) -> str:
        """How many times the whole model runs for one image, e.g. "1 + c"."""
        found = re.search(r"`([^`]+)` forward pass", self.cost)
        return found.group(1) if found else ""


def describe(cls: type[Explainer]) -> Description:
    """Reads a method's class."""
    body, _, arguments = (inspect.getdoc(cls) or "").partition("\nArgs:\n")
    summary, *paragraphs = [p.strip("\n") for p in re.split(r"\n\s*\n", body.strip("\n"))]
    labelled = {"Map": "", "Cost": "", "Deviation": ""}
    equations, text = [], []
    for paragraph in paragraphs:
        if paragraph.startswith(".. math::"):
            equations.append(inspect.cleandoc(paragraph.removeprefix(".. math::")))
        elif _LABELS.match(paragraph):
            for part in re.split(r"\n(?=(?:Map|Cost|Deviations?): )", paragraph):
                label, _, said = part.partition(": ")
                labelled[label.removesuffix("s")] = " ".join(said.split()).removesuffix(".")
        else:
            text.append(paragraph)
    return Description(
        cls=cls,
        summary=" ".join(summary.split()),
        equations=tuple(equations),
        text=tuple(text),
        deviations=labelled["Deviation"],
        map=labelled["Map"],
        cost=labelled["Cost"],
        options=_options(cls, arguments),
        places=_places(cls.paper, text),
        link=_link(cls.paper),
    )


def _options(cls: Any, arguments: str) -> tuple[Option, ...]:
    told = dict(
        re.findall(r"^    (\w+): (.*?)(?=^    \w+: |\Z)", arguments, re.MULTILINE | re.DOTALL)
    )
    fields = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
    return tuple(
        Option(
            f.name,
            "" if f.default is dataclasses.MISSING else repr(f.default),
            " ".join(told.get(f.name, "").split()),
        )
        for f in fields
    )


def _places(paper: str, text: list[str]) -> str:
    """What stands behind the paper's number, up to the next paper's."""
    for paragraph in text:
        _, found, behind = " ".join(paragraph.split()).partition(paper)
        if found:
            return ", ".join(_PLACES.findall(re.split(r"arXiv|doi", behind)[0]))
    return ""


def _link(paper: str) -> str:
    if re.fullmatch(r"\d{4}\.\d{4,5}", paper):
        return f"https://arxiv.org/abs/{paper}"
    return f"https://doi.org/{paper}" if paper.startswith("10.") else ""
