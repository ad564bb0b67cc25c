"""Methods x metrics on a model and a set of examples, resumable at any moment."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camport.core import registry
from camport.core.bound import Bound
from camport.core.case import Case
from camport.core.explainer import Explainer
from camport.core.metric import Metric
from camport.core.scorer import Scorer
from camport.errors import CamportError, InputError, OutOfMemoryError, silenced
from camport.evaluation.examples import Example, region_of
from camport.evaluation.named import key, made
from camport.evaluation.references import REFERENCES, reference_maps
from camport.evaluation.store import Batch, Store
from camport.evaluation.summary import FLAT, Table, summarised
from camport.runtime import Placement, Preprocess, class_index

Bind = Callable[[nn.Module, Explainer], Bound]
Progress = Callable[[int, int, str], object]
SHOWN = 4
"""Examples whose maps are kept for the report."""


@dataclass(frozen=True)
class Prepared:
    """A batch as the model takes it."""

    number: int
    first: int
    examples: Sequence[Example]
    images: Tensor
    target: Any
    region: Tensor | None


@dataclass(frozen=True)
class Evaluated:
    """A model and what it is asked.

    Args:
        model: in evaluation mode, on the device to compute on.
        bind: binds a method to the model, with its layer and adapter.
        preprocess: how the model wants its pictures.
        labels: names of its classes, where targets are labels.
        detection: targets are boxes.
        settings: what else the figures depend on, as JSON takes it: the name of the model,
            its weights.
    """

    model: nn.Module
    bind: Bind
    preprocess: Preprocess
    labels: tuple[str, ...] = ()
    detection: bool = False
    settings: Mapping[str, Any] | None = None


def evaluate(
    subject: Evaluated,
    methods: Sequence[str | Explainer],
    metrics: Sequence[str | Metric],
    examples: Sequence[Example],
    folder: Path | str,
    *,
    batch: int = 8,
    references: bool = True,
    progress: Progress | None = None,
) -> Table:
    """Explains every example by every method and measures each map by every metric.

    The record is written after every batch, and a call with the same folder goes on from there:
    figures do not depend on how often it was stopped. Methods and metrics may be added later;
    another model, other examples or another size of batch is refused.

    Args:
        subject: the model.
        methods: names, with options as in "rise(samples=500)", or instances.
        metrics: likewise.
        examples: from `camport.evaluation.open_data` or made by hand.
        folder: where the record is.
        batch: examples at a time; it is part of what figures depend on, since sums are rounded
            differently.
        references: measure a random map and a blob in the centre as well.
        progress: called with the number of done and of all steps, and the method at work.

    Raises:
        InputError: nothing to evaluate, unknown names, a target that the model does not have.
        OutputError: the folder cannot be written.
    """
    chosen = {key(m): m for m in (made(text, registry.explainer) for text in methods)}
    measured = {key(m): m for m in (made(text, registry.metric) for text in metrics)}
    if not (chosen and measured and examples and batch >= 1):
        raise InputError(
            f"{len(chosen)} methods, {len(measured)} metrics, {len(examples)} examples, batches of"
            f" {batch}: at least one of each"
        )
    targets = [target_of(example, subject) for example in examples]
    settings = {
        **(subject.settings or {}),
        "examples": f"{len(examples)} examples, {_digest(examples)}",
        "batch": batch,
        "preprocess": subject.preprocess.to_json(),
    }
    ways: dict[str, Explainer | None] = dict(chosen)
    if references:
        ways = {**dict.fromkeys(REFERENCES), **chosen}
    with Store(Path(folder), settings) as store:
        bounds = {way: subject.bind(subject.model, explainer) for way, explainer in chosen.items()}
        first = next(iter(bounds.values()))
        total, done = len(ways) * -(-len(examples) // batch), 0
        for number, span in enumerate(_spans(len(examples), batch)):
            lacking = {way: store.lacking(way, list(measured), number) for way in ways}
            if not any(lacking.values()):
                done += len(ways)
                continue
            prepared = _prepared(number, span, examples, targets, subject)
            with silenced():
                scorer = Scorer.of(first, prepared.images, prepared.target)
            asked = [_asked(target, subject.labels) for target in targets[span.start : span.stop]]
            names = [example.name for example in prepared.examples]
            store.add_examples(prepared.first, names, asked, scorer.probability.cpu().numpy())
            for way in ways:
                if progress is not None:
                    progress(done, total, way)
                if lacking[way]:
                    wanted = {name: measured[name] for name in lacking[way]}
                    found = _measured(way, bounds.get(way), scorer, prepared, wanted)
                    store.add(way, number, prepared.first, found)
                done += 1
        if progress is not None:
            progress(done, total, "")
        return summarised(store, list(ways), list(measured.values()))


def target_of(example: Example, subject: Evaluated) -> Any:
    """The target with labels as indices.

    Raises:
        InputError: a label that the model does not have.
    """
    target = example.target
    if isinstance(target, str):
        return class_index(target, subject.labels or None)
    if isinstance(target, Mapping):
        classes = target.get("class_ids")
        if classes is not None:
            numbers = [
                class_index(c, subject.labels or None) if isinstance(c, str) else int(c)
                for c in classes
            ]
            return {**target, "class_ids": np.array(numbers)}
    return target


def _measured(
    way: str, bound: Bound | None, scorer: Scorer, prepared: Prepared, metrics: Mapping[str, Metric]
) -> Batch:
    found = Batch()
    names = [example.name for example in prepared.examples]
    with silenced():
        try:
            if bound is None:
                size = (prepared.images.shape[-2], prepared.images.shape[-1])
                maps = torch.from_numpy(reference_maps(way, names, size))
                case = Case(
                    prepared.images, maps.to(prepared.images.device), prepared.region, None, scorer
                )
            else:
                case = Case.of(
                    bound, prepared.images, prepared.target, prepared.region, scorer=scorer
                )
        except OutOfMemoryError:  # the machine's state is no reason to leave a method out for ever
            raise
        except CamportError as error:
            return replace(found, refusals={"": str(error)})
        for name, metric in metrics.items():
            try:
                figures, curves = metric.measured(case)
            except OutOfMemoryError:
                raise
            except CamportError as error:
                found.refusals[name] = str(error)
                continue
            found.figures[name] = figures.double().cpu().numpy()
            found.curves[name] = {k: v.float().cpu().numpy() for k, v in curves.items()}
    flat = case.heatmap.flatten(1)
    found.figures[FLAT] = (flat.amax(1) == flat.amin(1)).double().cpu().numpy()
    for i in range(min(len(names), SHOWN - prepared.first)):
        levels = (case.heatmap[i].clamp(0, 1) * 255).round().to(torch.uint8)
        found.maps[prepared.first + i] = levels.cpu().numpy()
    return found


def _prepared(
    number: int,
    span: range,
    examples: Sequence[Example],
    targets: Sequence[Any],
    subject: Evaluated,
) -> Prepared:
    parameter = next(iter(subject.model.parameters()), torch.empty(0))
    chosen = [examples[i] for i in span]
    pixels, placements = zip(
        *(subject.preprocess.apply(example.picture()) for example in chosen), strict=True
    )
    sizes = sorted({array.shape[1:] for array in pixels})
    if len(sizes) > 1:
        raise InputError(
            f"pictures of {chosen[0].name} to {chosen[-1].name} have {len(sizes)} sizes as the"
            f" model takes them, such as {list(sizes[0])} and {list(sizes[1])}: give a size in"
            " preprocess, or evaluate one at a time"
        )
    images = torch.from_numpy(np.stack(pixels)).to(parameter.device)
    regions = [
        region_of(example, placement) for example, placement in zip(chosen, placements, strict=True)
    ]
    known = [region for region in regions if region is not None]
    if known and len(known) < len(regions):
        raise InputError(
            f"some of {chosen[0].name} to {chosen[-1].name} have a region and some have none"
        )
    region = torch.from_numpy(np.stack(known)).to(parameter.device) if known else None
    target = _joined([targets[i] for i in span], placements, subject)
    return Prepared(number, span.start, chosen, images, target, region)


def _joined(targets: Sequence[Any], placements: Sequence[Placement], subject: Evaluated) -> Any:
    if not any(isinstance(target, Mapping) for target in targets):
        if subject.detection:
            raise InputError(
                "a detector is asked about boxes: give each example a target of boxes and class_ids"
            )
        return torch.tensor([-1 if target is None else int(target) for target in targets])
    rows = [
        (
            {**target, "boxes": placement.boxes_to_network(target["boxes"])}
            if "boxes" in target
            else target
        )
        for target, placement in zip(targets, placements, strict=True)
    ]
    return {
        name: torch.from_numpy(np.concatenate([np.asarray(row[name]) for row in rows]))
        for name in rows[0]
    }


def _asked(target: Any, labels: Sequence[str]) -> str:
    if isinstance(target, Mapping):
        target = int(np.asarray(target.get("class_ids", [-1]))[0])
    if target is None or target < 0:
        return "top class"
    return labels[target] if target < len(labels) else f"class {target}"


def _spans(count: int, batch: int) -> Iterator[range]:
    return (range(start, min(start + batch, count)) for start in range(0, count, batch))


def _digest(examples: Sequence[Example]) -> str:
    """Tells sets of examples apart by names and targets."""
    text = "\n".join(
        f"{e.name}\t{e.target}\t{None if e.boxes is None else e.boxes.tolist()}" for e in examples
    )
    return f"{zlib.crc32(text.encode()):08x}"
