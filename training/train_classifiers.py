"""Trains the demo's classifiers on digit scenes and writes their weights and held-out scores.

    python training/train_classifiers.py [--only digits] python training/train_classifiers.py --only
    digits --shuffled shuffled.safetensors

Nothing is downloaded and no scene is stored: scenes come from seeds. The figures in `scores.json`
are those of the files as written, in half precision, loaded again through
`camport.demo.networks.load`.

With --shuffled every scene has the labels of another, so that there is nothing to learn but the
training scenes themselves, which are few and not augmented, so that they can be learned by heart;
the maps of such a network are compared with the trained one's by `camport.metrics.compare_models`
(Adebayo et al. 2018, arXiv 1810.03292, section 4; their networks learn over 95 % of the shuffled
labels too). Nothing of the package is written.
"""

import argparse
import json
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from camport.demo.networks import NETWORKS, WEIGHTS, Network, load
from camport.demo.scenes import LABELS, scene_arrays

SEED = 0
HELD_OUT_SCENES = 1000
# largest random shift of a cached scene, as a share of its side: no digit is nearer the border
SHIFT = 0.02


@dataclass(frozen=True)
class Recipe:
    """Training settings of one network."""

    scenes: int
    epochs: int
    batch: int = 64
    rate: float = 4e-3
    weight_decay: float = 1e-2
    start: str | None = None
    """The network whose convolutions and other layers of the same shape training starts from;
    random otherwise."""


RECIPES = {
    "digits": Recipe(scenes=12_000, epochs=8),
    "gap-pool": Recipe(scenes=14_000, epochs=16, rate=8e-3, weight_decay=3e-2),
    "gap-full": Recipe(scenes=6_000, epochs=2, rate=2e-3, start="gap-pool"),
    "vit": Recipe(scenes=12_000, epochs=9, rate=2e-3, weight_decay=5e-2, start="gap-pool"),
}
SHUFFLED = Recipe(scenes=512, epochs=80, batch=32, rate=2e-3, weight_decay=0)
"""Of any network on shuffled labels, which it learns by heart."""


def normalised(images: Tensor, network: Network) -> Tensor:
    """uint8 [b, h, w, 3] to what the network takes, [b, 3, h, w]."""
    mean, std = torch.tensor(network.mean), torch.tensor(network.std)
    return ((images.float() / 255 - mean) / std).permute(0, 3, 1, 2)


def augmented(images: Tensor, rng: np.random.Generator) -> Tensor:
    """A batch [b, h, w, 3] made new: shifted, each scene's channels shuffled,
    every other one inverted."""
    size = images.shape[1]
    reach = round(SHIFT * size)
    padded = F.pad(images.permute(0, 3, 1, 2).float(), (reach,) * 4, mode="replicate")
    y, x = (int(v) for v in rng.integers(0, 2 * reach + 1, 2))
    moved = padded[:, :, y : y + size, x : x + size]
    order = torch.from_numpy(rng.permuted(np.tile(np.arange(3), (len(images), 1)), axis=1))
    swapped = torch.gather(moved, 1, order[:, :, None, None].expand_as(moved))
    negative = torch.from_numpy(rng.random((len(images), 1, 1, 1)) < 0.5)
    return torch.where(negative, 255 - swapped, swapped).permute(0, 2, 3, 1)


def batches(
    images: Tensor, labels: Tensor, recipe: Recipe, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of shuffled batches, augmented but for SHUFFLED;
    an incomplete last one is left out."""
    order = torch.from_numpy(rng.permutation(len(images)))
    for chosen in order[: len(order) // recipe.batch * recipe.batch].split(recipe.batch):
        yield (
            images[chosen] if recipe is SHUFFLED else augmented(images[chosen], rng),
            labels[chosen],
        )


def training_scenes(count: int, size: int) -> tuple[Tensor, Tensor]:
    """The first `count` scenes, uint8 [n, h, w, 3], and which labels are in them, [n, 10];
    drawn by all cores."""
    parts = [range(start, min(start + 500, count)) for start in range(0, count, 500)]
    with ProcessPoolExecutor() as pool:
        drawn = list(pool.map(partial(scene_arrays, split="train", size=size), parts))
    images, labels = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
    return torch.from_numpy(images), torch.from_numpy(labels).float()


@torch.no_grad()
def take_over(network: nn.Module, trained: nn.Module) -> None:
    """Gives each convolution, normalisation and linear layer of `network` the weights of its
    counterpart.

    Counterparts are the first of their kind in each, the second, and so on, as long as their shapes
    agree.
    """
    for kind in (nn.Conv2d, nn.BatchNorm2d, nn.Linear):
        ours, theirs = (
            [m for m in net.modules() if isinstance(m, kind)] for net in (network, trained)
        )
        for own, other in zip(ours, theirs, strict=False):
            if [v.shape for v in own.state_dict().values()] == [
                v.shape for v in other.state_dict().values()
            ]:
                own.load_state_dict(other.state_dict())


def train(name: str, shuffled: bool = False) -> nn.Module:
    """Trains one network from SEED; `shuffled`: from random weights,
    on labels that are other scenes'."""
    card, recipe = NETWORKS[name], SHUFFLED if shuffled else RECIPES[name]
    rng = np.random.default_rng(SEED)
    torch.manual_seed(SEED)
    images, labels = training_scenes(recipe.scenes, card.input_size)
    network = card.factory()
    if shuffled:
        labels = labels[torch.from_numpy(rng.permutation(len(labels)))]
    elif recipe.start:
        take_over(network, load(recipe.start))
    network = network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(
        network.parameters(), recipe.rate, weight_decay=recipe.weight_decay
    )
    steps = recipe.epochs * (recipe.scenes // recipe.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.rate, total_steps=steps, pct_start=0.2
    )
    # bfloat16 halves the time where the processor has it and is slower than float32 where it is
    # emulated.
    fast = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for epoch in range(recipe.epochs):
        losses: list[Tensor] = []
        for batch, wanted in batches(images, labels, recipe, rng):
            inputs = normalised(batch, card).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                logits = network(inputs)
            loss = F.binary_cross_entropy_with_logits(logits.float(), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        print(
            f"{name}: epoch {epoch + 1}/{recipe.epochs}, loss {torch.stack(losses).mean():.4f}",
            flush=True,
        )
    if shuffled:
        print(
            f"{name}: {learned(network.eval(), images, labels, card):.4f} of the shuffled labels"
            " learned"
        )
    return network


@torch.no_grad()
def learned(network: nn.Module, images: Tensor, labels: Tensor, card: Network) -> float:
    """The share of a training set's labels, ten a scene, that the network gives."""
    logits = torch.cat([network(normalised(part, card)) for part in images.split(64)])
    return float(((logits > 0) == labels.bool()).float().mean())


def write(path: Path, network: nn.Module) -> None:
    """Stores the weights in half precision, batch-norm's statistics included."""
    path.parent.mkdir(exist_ok=True)
    tensors = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in network.state_dict().items()
    }
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors leaves it readable by its owner alone


@torch.no_grad()
def score(name: str) -> dict[str, object]:
    """The stored network's figures on held-out scenes of one to five digits."""
    card, network = NETWORKS[name], load(name)
    images, presence = scene_arrays(range(HELD_OUT_SCENES), split="held-out", size=card.input_size)
    logits = torch.cat(
        [network(normalised(part, card)) for part in torch.from_numpy(images).split(100)]
    )
    truth = torch.from_numpy(presence)
    said = logits > 0
    hit = (said & truth).sum(0) / truth.sum(0)
    spared = (~said & ~truth).sum(0) / (~truth).sum(0)
    balanced = (hit + spared) / 2
    return {
        "held_out_scenes": HELD_OUT_SCENES,
        "balanced_accuracy": round(float(balanced.mean()), 4),
        "balanced_accuracy_per_label": {
            label: round(float(value), 4) for label, value in zip(LABELS, balanced, strict=True)
        },
        "top1_is_present": round(
            float(truth.gather(1, logits.argmax(1, keepdim=True)).float().mean()), 4
        ),
        "exact_match": round(float((said == truth).all(1).float().mean()), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only", choices=sorted(NETWORKS), help="train this network and leave the others"
    )
    parser.add_argument(
        "--shuffled", type=Path, metavar="FILE", help="train the one on shuffled labels, into FILE"
    )
    given = parser.parse_args()
    chosen: str | None = given.only
    if given.shuffled:
        write(given.shuffled, train(chosen or "digits", shuffled=True))
        return
    path = WEIGHTS / "scores.json"
    for name in [chosen] if chosen else list(NETWORKS):
        start, used = time.perf_counter(), time.process_time()
        network = train(name)
        # the processor's seconds, of all threads together,
        # do not depend on what else the machine does
        seconds = {
            "training_seconds": round(time.perf_counter() - start, 1),
            "training_cpu_seconds": round(time.process_time() - used, 1),
        }
        write(WEIGHTS / f"{name}.safetensors", network)
        scores = json.loads(path.read_text()) if path.is_file() else {}
        scores[name] = {**score(name), **seconds, "seed": SEED}
        print(name, json.dumps(scores[name]))
        path.write_text(json.dumps(scores, indent=2) + "\n")


if __name__ == "__main__":
    main()
