"""How well maps of words, answers and regions point on held-out digit scenes:
`python -m benchmarks tasks`.

With `-o benchmarks/TASKS.md` it writes the table there.
"""

import argparse
import datetime
import platform
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

import camport
from benchmarks.quality.tasks_scores import normalised, table
from camport.adapters import CaptioningAdapter
from camport.adapters.text.words import word_in, words_of
from camport.bench.machine import versions
from camport.core.bound import Bound
from camport.demo.language import CAPTION_WORDS, caption_tokens
from camport.demo.scenes import LABELS, PLURALS, Digit, Scene, make_scene
from camport.demo.task_networks import INPUT_SIZE, TASK_NETWORKS, load

DEFAULT = "default"
"""What the adapter takes where nothing is named: its method, its score."""
METHODS = ("layercam", "hirescam", "gradcam", "gradcam++")
SCORES = ("log_probability", "logit")
FIRST_SEED = 20_000
"""Far beyond the scenes that the training scripts score, and that choices were made on."""
HALF_CELL = 4
TEXT = """\
Held-out scenes (seeds {first} and up; their digits and photographs were not trained on), the map at `encoder.layer3`,
16 x 16 for 128 x 128 pixels. What is asked is known to be there, and where. *Own over other*: share of maps with more
energy in the boxes of the digits asked about than in the boxes of all others together. *Energy*: the mean share of the
map's sum that lies in those boxes; *chance* is their share of the area. *Pointing*: share of maps whose maximum lies in
them, or within half a cell of the map (4 pixels).

- **a word**: of a caption of a scene with two digits, teacher-forced as it is, also where the network would not write
  it; the word is one of the two digits', the boxes are that digit's alone, also where both are of one class. *Of logit*
  and *of log_probability* are `CaptioningAdapter(score_as=...)`.
- **how many**, **is there**, **leftmost** and its like: questions whose answer the network gives rightly, in scenes
  with two digits or more, and a digit that is not asked about among them.
- **a region**: the segmentation's class, where it is predicted, in scenes with two classes or more.
"""


@dataclass(frozen=True)
class Asked:
    """One explanation to make: a scene, the target for it,
    and the digits that the map should lie on."""

    kind: str
    scene: Scene
    target: dict[str, Tensor]
    own: tuple[Digit, ...]


@dataclass
class Found:
    """What a method reached for one kind of question."""

    maps: int = 0
    over: int = 0
    energy: float = 0.0
    hits: int = 0
    chance: float = 0.0

    def add(self, heatmap: Tensor, asked: Asked) -> None:
        """Counts one map."""
        own, other = (region(digits) for digits in (asked.own, rest(asked)))
        total = heatmap.sum().clamp_min(1e-12)
        row, column = divmod(int(heatmap.argmax()), heatmap.shape[1])
        self.maps += 1
        self.over += int(heatmap[own].sum() > heatmap[other & ~own].sum())
        self.energy += float(heatmap[own].sum() / total)
        self.hits += int(region(asked.own, HALF_CELL)[row, column])
        self.chance += float(own.float().mean())

    def row(self) -> tuple[str, ...]:
        """As the table shows it."""
        n = max(self.maps, 1)
        shares = (self.over / n, self.energy / n, self.hits / n, self.chance / n)
        return (str(self.maps), *(f"{share:.3f}" for share in shares))


def region(digits: Sequence[Digit], margin: int = 0) -> Tensor:
    """Where the boxes are, bool [H,W]."""
    inside = torch.zeros(INPUT_SIZE, INPUT_SIZE, dtype=torch.bool)
    for digit in digits:
        x0, y0, x1, y1 = map(int, digit.box)
        inside[max(y0 - margin, 0) : y1 + margin, max(x0 - margin, 0) : x1 + margin] = True
    return inside


def rest(asked: Asked) -> tuple[Digit, ...]:
    """The digits that are not asked about."""
    return tuple(digit for digit in asked.scene.digits if digit not in asked.own)


def in_caption_order(scene: Scene) -> tuple[Digit, Digit]:
    """The two digits in the order in which the caption names them."""
    left, right = scene.digits
    if " above " not in scene.caption:
        return left, right
    middle = [(digit.box[1] + digit.box[3]) / 2 for digit in scene.digits]
    return (left, right) if middle[0] < middle[1] else (right, left)


def words(count: int) -> Iterator[Asked]:
    """The two digits' words of each caption."""
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        scene = make_scene(seed, split="held-out", size=INPUT_SIZE, digits=2)
        tokens = caption_tokens(scene.caption)
        said = words_of([CAPTION_WORDS[token] for token in tokens])
        seen: Counter[int] = Counter()
        for digit in in_caption_order(scene):
            seen[digit.label] += 1
            word = word_in(said, LABELS[digit.label], seen[digit.label])
            target = {
                "tokens": torch.tensor([tokens]),
                "span": torch.tensor([[word.start, word.end]]),
            }
            yield Asked("a word", scene, target, (digit,))


def questions(count: int, bound: Bound) -> Iterator[Asked]:
    """Questions about some of a scene's digits, where the network answers rightly."""
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        scene = make_scene(seed, split="held-out", size=INPUT_SIZE)
        labels = Counter(digit.label for digit in scene.digits)
        if len(labels) < 2:
            continue
        label = sorted(labels)[seed % len(labels)]
        same = tuple(digit for digit in scene.digits if digit.label == label)
        top = min(scene.digits, key=lambda digit: digit.box[1] + digit.box[3])
        article = "an" if label == 8 else "a"
        for kind, text, answer, own in (
            ("how many", f"how many {PLURALS[label]}?", str(len(same)), same),
            ("is there", f"is there {article} {LABELS[label]}?", "yes", same),
            (
                "leftmost",
                "which digit is leftmost?",
                LABELS[scene.digits[0].label],
                scene.digits[:1],
            ),
            (
                "rightmost",
                "which digit is rightmost?",
                LABELS[scene.digits[-1].label],
                scene.digits[-1:],
            ),
            ("topmost", "which digit is topmost?", LABELS[top.label], (top,)),
        ):
            target = bound._prepared((text, answer), normalised(scene))
            with torch.no_grad():
                said = bound.model(normalised(scene), target["question"]).argmax(1)
            if torch.equal(said, target["answer"]):
                yield Asked(kind, scene, target, own)


def regions(count: int, bound: Bound) -> Iterator[Asked]:
    """Each class of a scene that the network finds."""
    for seed in range(FIRST_SEED, FIRST_SEED + count):
        scene = make_scene(seed, split="held-out", size=INPUT_SIZE)
        labels = sorted({digit.label for digit in scene.digits})
        if len(labels) < 2:
            continue
        with torch.no_grad():
            found = bound.model(normalised(scene))["out"].argmax(1)
        for label in labels:
            own = tuple(digit for digit in scene.digits if digit.label == label)
            if bool((found == label + 1)[0][region(own)].any()):
                yield Asked("a region", scene, bound._prepared(label + 1, normalised(scene)), own)


@cache
def asked_of(name: str, scenes: int) -> tuple[Asked, ...]:
    """What a network is asked about that many scenes."""
    card = TASK_NETWORKS[name]
    if card.adapter == "captioning":
        return tuple(words(scenes))
    bound = camport.bind(load(name), None, card.layer, card.adapter)
    return tuple((questions if card.adapter == "vqa" else regions)(scenes, bound))


def measure(name: str, how: str = DEFAULT, scenes: int = 200) -> tuple[str, dict[str, Found]]:
    """One method on one network: its name, and what it reached for each kind of question.

    Args:
        name: of the network.
        how: a method; for captions "METHOD of SCORE", as `CaptioningAdapter.score_as`; or DEFAULT.
        scenes: how many.
    """
    card = TASK_NETWORKS[name]
    method, _, score_as = how.partition(" of ")
    adapter = CaptioningAdapter(score_as=score_as) if score_as else card.adapter
    bound = camport.bind(load(name), None if how == DEFAULT else method, card.layer, adapter)
    asked = asked_of(name, scenes)
    found: dict[str, Found] = {}
    for start in range(0, len(asked), 16):
        part = asked[start : start + 16]
        images = torch.cat([normalised(one.scene) for one in part])
        target = {key: torch.cat([one.target[key] for one in part]) for key in part[0].target}
        for one, heatmap in zip(part, bound(images, target).heatmap, strict=True):
            found.setdefault(one.kind, Found()).add(heatmap, one)
    return full_name(bound), found


def full_name(bound: Bound) -> str:
    """A method, for captions with its score."""
    score_as = getattr(bound.adapter, "score_as", None)
    return bound.explainer.name + (f" of {score_as}" if score_as else "")


def methods_for(name: str, methods: Sequence[str]) -> Iterator[str]:
    """The default, then each method that it is not; for captions of each score."""
    yield DEFAULT
    card = TASK_NETWORKS[name]
    usual = full_name(camport.bind(load(name), None, card.layer, card.adapter))
    for method in methods:
        for score_as in SCORES if card.adapter == "captioning" else ("",):
            how = f"{method} of {score_as}" if score_as else method
            if how != usual:
                yield how


def main(arguments: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks tasks", description=__doc__)
    parser.add_argument("--scenes", type=int, default=200, help="how many held-out scenes")
    parser.add_argument(
        "--networks", nargs="+", choices=list(TASK_NETWORKS), default=list(TASK_NETWORKS)
    )
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("-o", "--output", type=Path, help="the Markdown file; otherwise printed")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    lines = ["| network | asked | method | maps | own over other | energy | pointing | chance |"]
    lines.append("| :--- | :--- | :--- | ---: | ---: | ---: | ---: | ---: |")
    for name in given.networks:
        for how in methods_for(name, given.methods):
            method, kinds = measure(name, how, given.scenes)
            method = f"**{method}**, the default" if how == DEFAULT else method
            for kind, found in kinds.items():
                lines.append("| " + " | ".join((name, kind, method, *found.row())) + " |")
                print(lines[-1], file=sys.stderr, flush=True)
    networks = {name: (TASK_NETWORKS[name].adapter, load(name)) for name in given.networks}
    right = table(networks, range(FIRST_SEED, FIRST_SEED + given.scenes))
    used = ", ".join(
        f"{key} {value}" for key, value in versions().items() if key in ("camport", "torch")
    )
    head = (
        f"{datetime.date.today()}. Python {platform.python_version()}, {used}, CPU, {given.scenes}"
        " scenes."
    )
    command = "`python -m benchmarks tasks -o benchmarks/TASKS.md` makes this file."
    parts = [
        "# How well words, answers and regions point",
        head,
        TEXT.format(first=FIRST_SEED).strip(),
        command,
    ]
    parts += ["## The maps", "\n".join(lines), "## The networks themselves", "\n".join(right)]
    text = "\n\n".join(parts) + "\n"
    if given.output:
        given.output.write_text(text, encoding="utf-8")
    print(text)
    return 0
