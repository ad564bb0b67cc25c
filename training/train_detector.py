"""Trains the demo's detector on digit scenes and writes its weights and its held-out mean average
precision.

    python training/train_detector.py [--threads 1]

Nothing is downloaded and no scene is stored: scenes come from seeds. The figures in `scores.json`
are those of the file as written, in half precision, loaded again through
`camport.demo.detector.load`.
"""

import argparse
import json
import time
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from camport.adapters.detection.boxes import area, corners, overlap, suppressed
from camport.demo.detector import CARD, STRIDES, DigitDetector, load
from camport.demo.networks import WEIGHTS
from camport.demo.scenes import make_scene

NAME = "detector"
SEED = 0
SCENES, EPOCHS, BATCH, RATE = 7_000, 9, 64, 6e-3
HELD_OUT_SCENES = 500
MOST = 5
"""Digits in a scene, at most; rows of those that a scene lacks have the class -1."""
SIMILAR = 1.6
"""A digit is learnt by an anchor where neither side is so many times longer than the other's."""


def part(seeds: range, split: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Scenes uint8 [n,h,w,3] and their digits [n,5,5]: class, left, top, right, bottom."""
    images = np.zeros((len(seeds), size, size, 3), np.uint8)
    digits = np.full((len(seeds), MOST, 5), -1, np.float32)
    for row, seed in enumerate(seeds):
        scene = make_scene(seed, split=split, size=size)
        images[row] = scene.image
        for i, digit in enumerate(scene.digits):
            digits[row, i] = (digit.label, *digit.box)
    return images, digits


def scenes(count: int, split: str, size: int, workers: int) -> tuple[Tensor, Tensor]:
    """The first `count` scenes of a split and their digits."""
    parts = [range(start, min(start + 250, count)) for start in range(0, count, 250)]
    with ProcessPoolExecutor(workers) as pool:
        drawn = list(pool.map(part, parts, [split] * len(parts), [size] * len(parts)))
    images, digits = (np.concatenate(arrays) for arrays in zip(*drawn, strict=True))
    return torch.from_numpy(images), torch.from_numpy(digits)


def normalised(images: Tensor) -> Tensor:
    """uint8 [b,h,w,3] as the network takes them, [b,3,h,w]."""
    return ((images.float() / 255 - torch.tensor(CARD.mean)) / torch.tensor(CARD.std)).permute(
        0, 3, 1, 2
    )


def augmented(images: Tensor, digits: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """A batch made new: shifted and zoomed, each scene's channels shuffled,
    every other one inverted."""
    size = images.shape[1]
    zoom = torch.from_numpy(rng.uniform(0.85, 1.15, len(images))).float()
    shift = torch.from_numpy(rng.uniform(-0.12, 0.12, (len(images), 2))).float()
    theta = torch.zeros(len(images), 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1 / zoom
    theta[:, :, 2] = -shift / zoom[:, None] * 2
    pixels = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    moved = F.grid_sample(pixels, grid, padding_mode="reflection", align_corners=False)
    boxes = (
        (digits[..., 1:] - size / 2) * zoom[:, None, None]
        + size / 2
        + shift.repeat(1, 2)[:, None] * size
    )
    inside = boxes.clamp(0, size)
    seen = (area(inside) > 0.7 * area(boxes)) & (digits[..., 0] >= 0)
    order = torch.from_numpy(rng.permuted(np.tile(np.arange(3), (len(images), 1)), axis=1))
    swapped = torch.gather(moved, 1, order[:, :, None, None].expand_as(moved))
    negative = torch.from_numpy(rng.random((len(images), 1, 1, 1)) < 0.5)
    labels = torch.where(seen, digits[..., 0], -torch.ones(()))
    return torch.where(negative, 255 - swapped, swapped).permute(0, 2, 3, 1), torch.cat(
        [labels[..., None], inside], 2
    )


def wanted(
    raw: Tensor, level: int, anchors: Tensor, digits: Tensor
) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
    """Which candidates of a level are to find a digit: (image, anchor, row, column),
    its box and its class.

    Those of the cell in which the digit's centre lies and of the two nearest neighbours,
    for each similar anchor.
    """
    h, w = raw.shape[2:4]
    image, which = (digits[..., 0] >= 0).nonzero(as_tuple=True)
    found = digits[image, which]
    boxes, classes = found[:, 1:], found[:, 0].long()
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2 / STRIDES[level]
    size = boxes[:, 2:] - boxes[:, :2]
    ratio = size[:, None] / anchors[level]
    similar = torch.maximum(ratio, 1 / ratio).amax(2) < SIMILAR
    # 2 sigmoid - 0.5 reaches half a cell beyond the own one:
    # the neighbours on the centre's side can say it too
    side = torch.where(centre % 1 < 0.5, -1, 1)
    offsets = torch.stack(
        [torch.zeros_like(side), side * torch.tensor([1, 0]), side * torch.tensor([0, 1])], 1
    )
    cells = centre.floor().long()[:, None] + offsets
    inside = (cells >= 0).all(2) & (cells < torch.tensor([w, h])).all(2)
    digit, anchor, cell = (similar[:, :, None] & inside[:, None]).nonzero(as_tuple=True)
    columns, rows = cells[digit, cell].unbind(1)
    return (image[digit], anchor, rows, columns), boxes[digit], classes[digit]


def loss_of(network: DigitDetector, raw: list[Tensor], digits: Tensor) -> Tensor:
    """Generalised overlap of the boxes, cross-entropy of the classes,
    and of objectness with the overlap reached."""
    boxes_lost, classes_lost, objects_lost, learnt = [], [], [], 0
    for level, numbers in enumerate(raw):
        at, boxes, classes = wanted(numbers, level, network.head.anchors, digits)
        said = network.head.decode(numbers, level)[at]
        predicted = corners(said[:, :4])
        reached = overlap(predicted, boxes)
        hull = torch.cat(
            [torch.minimum(predicted, boxes)[:, :2], torch.maximum(predicted, boxes)[:, 2:]], 1
        )
        union = area(predicted) + area(boxes)
        union = union / (1 + reached)  # since the intersection is reached * union
        boxes_lost.append((1 - reached + 1 - union / area(hull)).sum())
        one_hot = F.one_hot(classes, network.head.classes).float()
        classes_lost.append(
            F.binary_cross_entropy_with_logits(numbers[at][:, 5:], one_hot, reduction="sum")
        )
        objects = torch.zeros(numbers.shape[:4])
        objects[at] = reached.detach().clamp_min(0)
        objects_lost.append(
            F.binary_cross_entropy_with_logits(numbers[..., 4], objects, reduction="sum")
        )
        learnt += len(boxes)
    return (2 * sum(boxes_lost) + sum(classes_lost) + sum(objects_lost)) / max(learnt, 1)


def train(workers: int) -> DigitDetector:
    """Trains from SEED."""
    rng = np.random.default_rng(SEED)
    torch.manual_seed(SEED)
    images, digits = scenes(SCENES, "train", CARD.input_size, workers)
    network = DigitDetector()
    torch.nn.init.zeros_(network.head.levels[0].bias)
    for level in network.head.levels:
        with torch.no_grad():
            level.bias.view(3, -1)[:, 4] = -4.5  # hardly any candidate is an object
            level.bias.view(3, -1)[:, 5:] = -2.2
    network = network.train().to(memory_format=torch.channels_last)
    decayed = [p for p in network.parameters() if p.dim() > 1]
    others = [p for p in network.parameters() if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": 2e-2}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, RATE)
    steps = EPOCHS * (SCENES // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps, pct_start=0.15
    )
    fast = torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()
    for epoch in range(EPOCHS):
        start, losses = time.perf_counter(), []
        order = torch.from_numpy(rng.permutation(SCENES))
        for chosen in order[: SCENES // BATCH * BATCH].split(BATCH):
            pixels, truth = augmented(images[chosen], digits[chosen], rng)
            inputs = normalised(pixels).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", torch.bfloat16, enabled=fast):
                raw = network(inputs)
            loss = loss_of(network, [r.float() for r in raw], truth)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 10.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        seconds = time.perf_counter() - start
        print(
            f"epoch {epoch + 1}/{EPOCHS}, loss {torch.stack(losses).mean():.4f}, {seconds:.0f} s",
            flush=True,
        )
    return network


def write(network: DigitDetector) -> None:
    """Stores the weights in half precision, batch-norm's statistics included."""
    tensors = {
        key: (value.half() if value.is_floating_point() else value).contiguous()
        for key, value in network.state_dict().items()
    }
    path = WEIGHTS / f"{NAME}.safetensors"
    save_file(tensors, path)
    path.chmod(0o644)  # safetensors leaves it readable by its owner alone


@torch.no_grad()
def score(workers: int) -> dict[str, object]:
    """Mean average precision of the stored network on held-out scenes, at an overlap of a half."""
    network = load()
    images, digits = scenes(HELD_OUT_SCENES, "held-out", CARD.input_size, workers)
    found = []  # image, class, score, box
    for row, image in enumerate(images):
        candidates = network(normalised(image[None]))[0][0]
        scores, classes = (candidates[:, 4:5] * candidates[:, 5:]).max(1)
        likely = scores > 0.01
        boxes, scores, classes = corners(candidates[likely, :4]), scores[likely], classes[likely]
        for i in suppressed(boxes, scores, classes, 0.5)[:100].tolist():
            found.append((row, int(classes[i]), float(scores[i]), boxes[i]))
    precisions = [average_precision(found, digits, label) for label in range(network.head.classes)]
    return {
        "held_out_scenes": HELD_OUT_SCENES,
        "mAP50": round(float(np.mean(precisions)), 4),
        "AP50_per_label": {
            name: round(value, 4) for name, value in zip(CARD.labels, precisions, strict=True)
        },
    }


def average_precision(
    found: list[tuple[int, int, float, Tensor]], digits: Tensor, label: int
) -> float:
    """Area under the precision envelope over recall, of one class; a digit is found once."""
    truth = {i: rows[rows[:, 0] == label][:, 1:] for i, rows in enumerate(digits)}
    taken = {i: torch.zeros(len(boxes), dtype=torch.bool) for i, boxes in truth.items()}
    total = sum(map(len, truth.values()))
    hits = []
    for image, _, _, box in sorted((f for f in found if f[1] == label), key=lambda f: -f[2]):
        reached = overlap(box, truth[image]) if len(truth[image]) else torch.zeros(1)
        best = int(reached.argmax())
        hit = bool(reached[best] >= 0.5) and not bool(taken[image][best])
        if hit:
            taken[image][best] = True
        hits.append(hit)
    right = np.cumsum(hits)
    recall = np.concatenate([[0.0], right / total])
    precision = np.concatenate([[1.0], right / np.arange(1, len(hits) + 1)])
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall) * envelope[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--threads", type=int, default=1, help="of PyTorch, and processes that draw scenes"
    )
    parser.add_argument(
        "--score", action="store_true", help="score the stored weights and train nothing"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    path = WEIGHTS / "scores.json"
    scores = json.loads(path.read_text()) if path.is_file() else {}
    seconds = {
        key: scores[NAME][key] for key in scores.get(NAME, {}) if key.startswith("training_")
    }
    if not arguments.score:
        start, used = time.perf_counter(), time.process_time()
        network = train(arguments.threads)
        # the processor's seconds, of all threads together,
        # do not depend on what else the machine does
        seconds = {
            "training_seconds": round(time.perf_counter() - start, 1),
            "training_cpu_seconds": round(time.process_time() - used, 1),
        }
        write(network)
    scored = {**score(arguments.threads), **seconds, "seed": SEED}
    scores = json.loads(path.read_text()) if path.is_file() else {}
    path.write_text(json.dumps({**scores, NAME: scored}, indent=2) + "\n")
    print(NAME, json.dumps(scored))


if __name__ == "__main__":
    main()
