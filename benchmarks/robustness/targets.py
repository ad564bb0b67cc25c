"""Each adapter's own target: a sound one with one thing changed in it, or anything."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import camport
from benchmarks.robustness.junk import TEXTS, TYPES, anything, pick
from camport.adapters import ClassificationAdapter, FunctionAdapter
from camport.errors import InputError
from camport.models import load_model

Rng = np.random.Generator
VALUES = (-1, -2, 0, 1, 9, 10**6, 2**40, -(2**63), 0.5, 1e30, float("nan"), float("inf"))
TOKENS = {"tokens": torch.tensor([[0, 2, 3, 1]]), "span": torch.tensor([[1, 2]])}
SOUND: dict[str, list[Any]] = {
    "digits": [3, torch.tensor([4]), [-1]],
    "captioner": [TOKENS, {"tokens": TOKENS["tokens"]}],
    "plain-captioner": [TOKENS],
    "answerer": [
        ("how many sevens?", -1),
        {"question": torch.tensor([[1, 2, 3]]), "answer": torch.tensor([1])},
    ],
    "segmenter": [
        {"class": -1},
        {"class": 1, "box": (4, 4, 40, 40)},
        {"class": 1, "pixel": (9, 9)},
        {"target": torch.tensor([1]), "mask": torch.ones(1, 64, 64)},
    ],
    "detector": [
        {"boxes": torch.tensor([[5.0, 5.0, 40.0, 40.0]]), "class_ids": torch.tensor([1])},
        {"boxes": [[5, 5, 40, 40]], "class_ids": -1},
    ],
}


def targets(folder: Path, own: Path) -> Callable[[Rng], None]:
    """Boxes, tokens, spans, masks, questions: a sound target of each adapter with something
    changed, and anything."""
    found: list[tuple[Any, Tensor, list[Any]]] = []
    for name, sound in SOUND.items():
        loaded = load_model(f"demo:{name}")
        bound = camport.bind(loaded.model, "gradcam", loaded.layer, loaded.adapter)
        side = (loaded.preprocess.size or (64, 64))[0]
        images = torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))
        found.append((bound, images, sound))
    net, images, _ = found[0][0].model, found[0][1], found[0][2]
    weighted = ClassificationAdapter(score_as="weighted_sum")
    found.append((camport.bind(net, "gradcam", None, weighted), images, [torch.ones(10)]))
    contrast = FunctionAdapter(lambda z, w: (z * w).sum(1), examples=(("w", (0.0,) * 10),))
    found.append((camport.bind(net, "gradcam", None, contrast), images, [{"w": torch.ones(1, 10)}]))
    for bound, images, sound in found:
        explained = 0
        for target in sound:
            try:
                bound(images, target)
                explained += 1
            except InputError:  # nothing of that kind in a random image
                continue
        assert explained, f"{bound.adapter.name}: no sound target"

    def case(rng: Rng) -> None:
        bound, images, sound = pick(rng, found)
        target = _changed(rng, pick(rng, sound)) if rng.random() < 0.8 else anything(rng)
        explanation = bound(images, target)
        assert bool(explanation.heatmap.isfinite().all()), "a heatmap that is not finite"
        assert bool(explanation.score.isfinite().all()), "a score that is not finite"

    return case


def _changed(rng: Rng, value: Any) -> Any:
    """The value with one thing in it changed."""
    if isinstance(value, dict):
        changed = dict(value)
        key = pick(rng, list(changed))
        way = rng.random()
        if way < 0.1:
            del changed[key]
        elif way < 0.2:
            changed[pick(rng, (*TEXTS, "box", "class", "mask", "pixel", 3))] = anything(rng)
        else:
            changed[key] = _changed(rng, changed[key])
        return changed
    if isinstance(value, list | tuple):
        items = [*value]
        at = int(rng.integers(len(items)))
        items[at] = _changed(rng, items[at])
        way = rng.random()
        items = items[:at] if way < 0.1 else [*items, items[at]] if way < 0.2 else items
        return type(value)(items)
    if isinstance(value, str):
        return pick(rng, (*TEXTS, f"{value} {pick(rng, TEXTS)}", value.upper(), value.split()[0]))
    if isinstance(value, Tensor):
        return _tensor(rng, value)
    return pick(rng, VALUES) if rng.random() < 0.8 else anything(rng)


def _tensor(rng: Rng, value: Tensor) -> Any:
    """Of another value, shape, type or kind."""
    way = int(rng.integers(7))
    if way <= 2:
        number = pick(rng, VALUES)
        whole = not value.is_floating_point()
        changed = value.clone()
        changed.view(-1)[int(rng.integers(value.numel()))] = (
            int(number) if whole and abs(number) < 2**62 else 0
        )
        if not whole:
            changed.view(-1)[0] = number
        return changed
    if way == 3:
        return pick(
            rng,
            (
                value[0],
                value[None],
                value[:0],
                torch.cat([value, value]),
                value[..., :-1],
                value.flatten(),
            ),
        )
    if way == 4:
        return value.to(getattr(torch, pick(rng, TYPES)))
    if way == 5:
        return pick(rng, (value.tolist(), value.numpy(), value.numpy().astype(object), str(value)))
    return anything(rng)
