"""What the scripts of the captioner, the question answerer and the segmentation network share.

The encoder is the classifier `digits` and stays as it is, so its maps are computed once and kept.
"""

import json
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from camport.demo.networks import WEIGHTS
from camport.demo.scenes import Scene, make_scene
from camport.demo.task_networks import INPUT_SIZE, MEAN, STD, load, with_encoder

SEED = 0
STRIDE = 8
"""Of the encoder's maps."""
HELD_OUT_SCENES = 1000
SCORES = WEIGHTS / "task_scores.json"
T = TypeVar("T")


def drawn(of: Callable[[Sequence[int]], T], count: int) -> list[T]:
    """`of` for all seeds below `count`, in parts of 250, by all cores."""
    parts = [range(start, min(start + 250, count)) for start in range(0, count, 250)]
    with ProcessPoolExecutor() as pool:
        return list(pool.map(of, parts))


def scene(seed: int, split: str, most: int | None = None) -> Scene:
    """The scene of a seed, with one digit to `most` of them;
    with the default number where that is None."""
    return make_scene(
        seed, split=split, size=INPUT_SIZE, digits=None if most is None else 1 + seed % most
    )


def normalised(images: Tensor) -> Tensor:
    """uint8 [b,h,w,3] to what the networks take, [b,3,h,w]."""
    return ((images.float() / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)


@torch.no_grad()
def encoded(name: str, images: Tensor) -> Tensor:
    """The encoder's maps of uint8 images [n,h,w,3], in half precision."""
    encoder = with_encoder(name).get_submodule("encoder").eval()
    return torch.cat([encoder(normalised(part)).half() for part in images.split(100)])


def cells(box: Sequence[float]) -> tuple[int, int, int, int]:
    """A box in pixels as the cells of the encoder's map that it touches; the ends are exclusive."""
    x0, y0, x1, y1 = box
    return int(x0 // STRIDE), int(y0 // STRIDE), int(-(-x1 // STRIDE)), int(-(-y1 // STRIDE))


def looked_past(weights: Tensor, boxes: Tensor) -> Tensor:
    """-log of what of the attention [...,cells] lies in a box [...,4],
    as a mean over those that are not empty."""
    side = round(weights.shape[-1] ** 0.5)
    y, x = torch.arange(side)[:, None], torch.arange(side)[None]
    x0, y0, x1, y1 = boxes[..., None, None].unbind(-3)
    inside = ((x >= x0) & (x < x1) & (y >= y0) & (y < y1)).flatten(-2).float()
    named = inside.any(-1)
    return -(weights * inside).sum(-1)[named].clamp_min(1e-6).log().sum() / named.sum().clamp_min(1)


def fresh(name: str) -> nn.Module:
    """The network to train: its first weights depend on the seed alone,
    not on what was drawn before."""
    torch.manual_seed(SEED)
    network = with_encoder(name)
    network.get_submodule("encoder").eval()
    return network


def fit(
    name: str,
    network: nn.Module,
    samples: int,
    loss_of: Callable[[Tensor], Tensor],
    *,
    epochs: int,
    rate: float,
    batch: int = 64,
    weight_decay: float = 1e-2,
) -> None:
    """Trains what is not the encoder: AdamW, one cycle;
    `loss_of(rows)` is the loss of these samples."""
    rng = np.random.default_rng(SEED)
    free = [p for key, p in network.named_parameters() if not key.startswith("encoder.")]
    optimizer = torch.optim.AdamW(free, rate, weight_decay=weight_decay)
    steps = epochs * (samples // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, rate, total_steps=steps, pct_start=0.2
    )
    for epoch in range(epochs):
        losses: list[Tensor] = []
        order = torch.from_numpy(rng.permutation(samples))
        for rows in order[: samples // batch * batch].split(batch):
            loss = loss_of(rows)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(free, 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        print(
            f"{name}: epoch {epoch + 1}/{epochs}, loss {torch.stack(losses).mean():.4f}", flush=True
        )


def write(name: str, network: nn.Module) -> None:
    """Stores what is not the encoder, in half precision."""
    tensors = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in network.state_dict().items()
        if not key.startswith("encoder.")
    }
    path = WEIGHTS / f"{name}.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors leaves it readable by its owner alone


def trained(
    name: str, train: Callable[[str], nn.Module], score: Callable[[nn.Module], dict[str, Any]]
) -> None:
    """Trains, writes, loads again, scores on held-out scenes and notes the figures in
    task_scores.json."""
    start, used = time.perf_counter(), time.process_time()
    torch.manual_seed(SEED)
    write(name, train(name))
    seconds = {
        "training_seconds": round(time.perf_counter() - start, 1),
        "training_cpu_seconds": round(time.process_time() - used, 1),
    }
    found = {"held_out_scenes": HELD_OUT_SCENES, **score(load(name)), **seconds, "seed": SEED}
    scores = json.loads(SCORES.read_text()) if SCORES.is_file() else {}
    scores[name] = found
    print(name, json.dumps(scores[name]))
    SCORES.write_text(json.dumps(scores, indent=2) + "\n")
