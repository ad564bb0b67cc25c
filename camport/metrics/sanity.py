"""Sanity checks: whether a map notices that what the network has learned is gone."""

import copy
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from camport.core.bind import bind
from camport.core.bound import Bound
from camport.core.scorer import Scorer
from camport.errors import InputError, LayerError, silenced
from camport.metrics.similarity import SIMILARITIES

Order = Literal["cascading", "independent"]
Stage = str | Sequence[str]
"""A module's dotted name, or several; a module stands for all that is in it."""


@dataclass(frozen=True)
class Sanity:
    """How alike the maps of a trained network and of randomised ones are.

    Attributes:
        stages: what was drawn anew, in order, from the output to the image.
        curves: by similarity, float64 [b,stages]: of each image's map with that of the trained
            network, 1 where it did not notice.
    """

    stages: tuple[str, ...]
    curves: Mapping[str, Tensor]


def sanity_check(
    bound: Bound,
    images: Tensor,
    target: Any = None,
    *,
    order: Order = "cascading",
    stages: Sequence[Stage] | None = None,
    similarities: Sequence[str] = ("spearman", "ssim", "hog"),
    statistics: Tensor | None = None,
    seed: int = 0,
) -> Sanity:
    """Randomisation of parameters: maps of networks of which stage after stage is drawn anew.

    Adebayo et al. 2018, arXiv 1810.03292, section 3. What is explained is the target of the trained
    network. The user's model is copied, and the process's random state is not used.

    Args:
        bound: a method bound to a trained model.
        images: [b,c,H,W], as for a call of `bound`, as is `target`.
        order: "cascading" draws each stage beside those before it, "independent" each alone.
        stages: from the output to the image; None is every module with parameters of its own,
            the last one first.
        similarities: of `camport.metrics.similarity.SIMILARITIES`.
        statistics: images [n,c,H,W] by which batch norms measure their statistics anew, without
            which a random network's activations leave their range; None leaves them.
        seed: of the drawn parameters.

    Raises:
        InputError: an order, similarity or stage that there is not.
        CamportError: as a call of `bound`.
    """
    unknown = [s for s in similarities if s not in SIMILARITIES]
    if unknown or order not in ("cascading", "independent"):
        raise InputError(
            f"order {order!r}, similarities {', '.join(similarities)}; wanted cascading or"
            f" independent, and of {', '.join(SIMILARITIES)}"
        )
    chosen = (
        [_names(bound.model, stage) for stage in stages]
        if stages is not None
        else _stages(bound.model)
    )
    with silenced():
        own = bound(images, target).heatmap
        scorer = Scorer.of(bound, images, target)
        found: dict[str, list[Tensor]] = {name: [] for name in similarities}
        for model in randomised(bound.model, chosen, order, statistics, seed):
            again = bind(
                model,
                bound.explainer,
                list(bound.layers or ()) or None,
                bound.adapter,
                chunk=bound.chunk,
            )
            maps = again.again(scorer.images, scorer.target).heatmap
            for name in similarities:
                found[name].append(SIMILARITIES[name](own, maps).double().cpu())
    return Sanity(
        tuple("+".join(names) for names in chosen), {n: torch.stack(v, 1) for n, v in found.items()}
    )


def compare_models(
    bound: Bound,
    other: Bound,
    images: Tensor,
    target: Any = None,
    similarities: Sequence[str] = ("spearman", "ssim", "hog"),
) -> dict[str, Tensor]:
    """How alike the maps of two models are for one target: label randomisation,
    where `other` learned shuffled labels.

    Adebayo et al. 2018, arXiv 1810.03292, section 4. Each is [b], 1 where the map says nothing of
    what was learned.

    Args:
        bound: a method bound to a model that learned the true labels.
        other: the same method, bound to one that learned shuffled ones.
        images: as for a call of `bound`, as is `target`.
        similarities: of `camport.metrics.similarity.SIMILARITIES`.
    """
    with silenced():
        own = bound(images, target).heatmap
        scorer = Scorer.of(bound, images, target)
        maps = other.again(scorer.images, scorer.target).heatmap
    return {name: SIMILARITIES[name](own, maps).double().cpu() for name in similarities}


def randomised(
    model: nn.Module,
    stages: Sequence[Sequence[str]],
    order: Order,
    statistics: Tensor | None,
    seed: int,
) -> Iterator[nn.Module]:
    """Copies of the model in evaluation mode, of each stage in turn drawn anew."""
    generator = torch.Generator().manual_seed(seed)
    current = copy.deepcopy(model).eval()
    for names in stages:
        changed = current if order == "cascading" else copy.deepcopy(model).eval()
        for name in names:
            for module in changed.get_submodule(name).modules():
                redraw(module, generator)
        if statistics is not None:
            measure_statistics(changed, statistics)
        yield changed


@torch.no_grad()
def redraw(module: nn.Module, generator: torch.Generator) -> None:
    """A module's own parameters as PyTorch first draws those of convolutions and linear layers.

    Weights of two axes or more, and biases beside them, are uniform within 1 / sqrt(fan-in); scales
    of norms are 1 and their shifts 0; any other parameter is normal, of the spread it has.
    """
    own = dict(module.named_parameters(recurse=False))
    fans = [p[0].numel() for p in own.values() if p.dim() > 1]
    for name, parameter in own.items():
        p = parameter.detach()  # shares its values
        if fans and not isinstance(module, nn.Embedding):
            limit = 1 / math.sqrt(max(1, p[0].numel() if p.dim() > 1 else fans[0]))
            drawn = (2 * torch.rand(p.shape, generator=generator, dtype=torch.float64) - 1) * limit
        elif name in ("weight", "bias") and p.dim() == 1:
            drawn = torch.full(p.shape, 1.0 if name == "weight" else 0.0, dtype=torch.float64)
        else:
            spread = float(p.double().std(correction=0)) or 1.0
            drawn = torch.randn(p.shape, generator=generator, dtype=torch.float64) * spread
        p.copy_(drawn)


@torch.no_grad()
def measure_statistics(model: nn.Module, images: Tensor) -> None:
    """Sets every batch norm's statistics to those of the images, as `images` pass through."""
    norms = [
        m
        for m in model.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.running_mean is not None
    ]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None
        norm.train()  # the others, dropout among them, stay as they are
    model(images)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum
        norm.eval()


def _stages(model: nn.Module) -> list[tuple[str, ...]]:
    names = [
        name for name, m in model.named_modules() if any(True for _ in m.parameters(recurse=False))
    ]
    if not names:
        raise InputError(f"{type(model).__name__} has no parameters to draw anew")
    return [(name,) for name in reversed(names)]


def _names(model: nn.Module, stage: Stage) -> tuple[str, ...]:
    names = (stage,) if isinstance(stage, str) else tuple(stage)
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            raise LayerError(
                f"stage {name!r} is no module of {type(model).__name__}; there is:"
                f" {', '.join(known)[:200]}"
            )
    return names
