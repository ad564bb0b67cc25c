"""Trains the demo's question answerer on digit scenes and writes its weights and held-out scores.

    python training/train_vqa.py

Questions: how many digits or sevens there are, is there a seven, which digit is leftmost,
rightmost, topmost. The classifier `digits` is the encoder and has to be there. Where to look for
the digit that is leftmost is taught, as in the captioner's training: from answers alone it was not
learned.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from task_data import (
    HELD_OUT_SCENES,
    cells,
    drawn,
    encoded,
    fit,
    fresh,
    looked_past,
    normalised,
    scene,
    trained,
)
from torch import Tensor, nn
from torch.nn import functional as F

from camport.demo.answerer import Answerer
from camport.demo.language import ANSWERS, question_tokens
from camport.demo.scenes import LABELS, PLURALS, Scene

SCENES = 10_000
EPOCHS = 5
LOOKING = 0.2
"""How much looking past the digit that is leftmost counts in the loss."""
ASKED = 3
"""Questions about each scene in one epoch."""


def asked(of: Scene, rng: np.random.Generator) -> list[tuple[str, str]]:
    """Questions of every kind, half of them about a digit that is there;
    of the kinds that `Scene.questions` has."""
    counts = Counter(digit.label for digit in of.digits)
    found = [(q, a) for q, a in of.questions if "tallest" not in q]
    for label in rng.permutation(10)[:3]:
        found.append((f"how many {PLURALS[label]}?", str(counts[int(label)])))
    for label in (d.label for d in of.digits):
        found.append((f"how many {PLURALS[label]}?", str(counts[label])))
        found.append((f"is there {'an' if label == 8 else 'a'} {LABELS[label]}?", "yes"))
    return found


def looked_for(of: Scene, question: str) -> Sequence[int]:
    """The box of the digit that is leftmost, rightmost or topmost, in cells;
    zeros for other questions."""
    which = question.rstrip("?").split()[-1]
    if which not in ("leftmost", "rightmost", "topmost"):
        return (0, 0, 0, 0)
    top = min(of.digits, key=lambda digit: digit.box[1] + digit.box[3])
    return cells({"leftmost": of.digits[0], "rightmost": of.digits[-1], "topmost": top}[which].box)


def arrays(
    seeds: Sequence[int], split: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images uint8 [n,h,w,3]; for each 12 questions as tokens [n,12,t],
    answers [n,12] and boxes in cells [n,12,4]."""
    images, questions, answers, boxes = [], [], [], []
    for seed in seeds:
        found, rng = scene(seed, split), np.random.default_rng(seed)
        pairs = asked(found, rng)
        chosen = [pairs[i] for i in rng.permutation(len(pairs))[:12]]
        while len(chosen) < 12:
            chosen.append(pairs[int(rng.integers(len(pairs)))])
        images.append(found.image)
        questions.append([question_tokens(question) for question, _ in chosen])
        answers.append([ANSWERS.index(answer) for _, answer in chosen])
        boxes.append([looked_for(found, question) for question, _ in chosen])
    return np.stack(images), np.array(questions), np.array(answers), np.array(boxes)


def train(name: str) -> nn.Module:
    parts = drawn(partial(arrays, split="train"), SCENES)
    images, questions, answers, boxes = (
        torch.from_numpy(np.concatenate(found)) for found in zip(*parts, strict=True)
    )
    maps = encoded(name, images)
    network = fresh(name)
    assert isinstance(network, Answerer)
    generator = torch.Generator().manual_seed(0)

    def loss_of(rows: Tensor) -> Tensor:
        which = torch.rand(len(rows), questions.shape[1], generator=generator).argsort(1)[:, :ASKED]
        question, answer = (
            questions[rows[:, None], which].flatten(0, 1),
            answers[rows[:, None], which].flatten(),
        )
        seen = maps[rows].float().repeat_interleave(ASKED, 0)
        said, weights = network.look(seen, question)
        return F.cross_entropy(said, answer) + LOOKING * looked_past(
            weights, boxes[rows[:, None], which].flatten(0, 1)
        )

    fit(name, network, len(maps), loss_of, epochs=EPOCHS, rate=3e-3)
    return network


@torch.no_grad()
def score(network: nn.Module) -> dict[str, Any]:
    """How often the answer is right, for all of `Scene.questions` but the tallest,
    and by kind of question."""
    right: dict[str, list[bool]] = defaultdict(list)
    for seed in range(HELD_OUT_SCENES):
        found = scene(seed, "held-out")
        pairs = [(q, a) for q, a in found.questions if "tallest" not in q]
        pixels = normalised(torch.from_numpy(found.image)[None]).expand(len(pairs), -1, -1, -1)
        said = (
            network(pixels, torch.tensor([question_tokens(q) for q, _ in pairs])).argmax(1).tolist()
        )
        for (question, answer), index in zip(pairs, said, strict=True):
            right[kind(question)].append(ANSWERS[index] == answer)
    rows = [hit for hits in right.values() for hit in hits]
    by_kind = {name: round(float(np.mean(hits)), 4) for name, hits in sorted(right.items())}
    return {
        "questions": len(rows),
        "answers_right": round(float(np.mean(rows)), 4),
        "by_kind": by_kind,
    }


def kind(question: str) -> str:
    """ "how many" for "how many sevens?", "leftmost" for "which digit is leftmost?"."""
    words = question.rstrip("?").split()
    if words[0] == "which":
        return words[-1]
    return "how many digits" if words[-1] == "digits" else " ".join(words[:2])


def main() -> None:
    trained("answerer", train, score)


if __name__ == "__main__":
    main()
