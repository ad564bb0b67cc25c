import json

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

import camport
from camport.demo.networks import NETWORKS, WEIGHTS, load
from camport.demo.scenes import LABELS, Scene, make_scene
from camport.errors import UnknownNameError

SAMPLES = WEIGHTS.parent / "samples"
SEEDS = range(2000, 2100)  # beyond those that scores.json is about
CONVOLUTIONAL = [name for name in NETWORKS if name != "vit"]


@pytest.fixture(scope="module")
def held_out() -> dict[int, list[Scene]]:
    sizes = {card.input_size for card in NETWORKS.values()}
    return {
        size: [make_scene(seed, split="held-out", size=size) for seed in SEEDS] for size in sizes
    }


def batch(name: str, scenes: list[Scene]) -> torch.Tensor:
    card = NETWORKS[name]
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).float() / 255
    return ((images - torch.tensor(card.mean)) / torch.tensor(card.std)).permute(0, 3, 1, 2)


def presence(scenes: list[Scene]) -> torch.Tensor:
    return torch.tensor(
        [[label in {d.label for d in s.digits} for label in range(10)] for s in scenes]
    )


@pytest.mark.parametrize("name", NETWORKS)
def test_stored_networks_know_held_out_digits(name, held_out):
    scenes = held_out[NETWORKS[name].input_size]
    with torch.no_grad():
        logits = load(name)(batch(name, scenes))
    said, truth = logits > 0, presence(scenes)
    hit, spared = (said & truth).sum() / truth.sum(), (~said & ~truth).sum() / (~truth).sum()
    assert (hit + spared) / 2 >= 0.9
    assert truth.gather(1, logits.argmax(1, keepdim=True)).float().mean() >= 0.9


def asked(name: str, held_out: dict[int, list[Scene]]) -> tuple[list[Scene], torch.Tensor]:
    """Scenes of several digits, and the class of the first digit of each."""
    scenes = [scene for scene in held_out[NETWORKS[name].input_size] if len(scene.digits) > 1]
    return scenes, torch.tensor([scene.digits[0].label for scene in scenes])


def hits(maps: np.ndarray, scenes: list[Scene]) -> float:
    """How often the largest value lies in a box of the class that was asked about."""
    found = []
    for heat, scene in zip(maps, scenes, strict=True):
        y, x = np.unravel_index(heat.argmax(), heat.shape)
        boxes = [d.box for d in scene.digits if d.label == scene.digits[0].label]
        found.append(any(x0 <= x < x1 and y0 <= y < y1 for x0, y0, x1, y1 in boxes))
    return float(np.mean(found))


@pytest.mark.parametrize("name", CONVOLUTIONAL)
def test_maps_peak_on_the_digit_asked_about(name, held_out):
    """Grad-CAM by hand; for the two with global average pooling it is CAM up to a positive
    factor."""
    card, (scenes, targets) = NETWORKS[name], asked(name, held_out)
    network, kept = load(name), []
    with torch.enable_grad():
        handle = network.get_submodule(card.layer).register_forward_hook(
            lambda *a: kept.append(a[2])
        )
        score = network(batch(name, scenes)).gather(1, targets[:, None]).sum()
        handle.remove()
        (gradient,) = torch.autograd.grad(score, kept[0])
    raw = F.relu((gradient.mean((2, 3), keepdim=True) * kept[0]).sum(1, keepdim=True)).detach()
    maps = F.interpolate(raw, (card.input_size,) * 2, mode="bilinear", align_corners=False)[
        :, 0
    ].numpy()
    assert hits(maps, scenes) >= 0.9


# nothing speaks for a digit that it overlooks
@pytest.mark.filterwarnings("ignore::camport.errors.FlatMapWarning")
def test_maps_of_the_transformer_peak_on_the_digit_asked_about(held_out):
    """Bounds are what it reaches (0.87 and 0.71) with some room:
    it points less well than the networks above."""
    scenes, targets = asked("vit", held_out)
    bounds = {method: camport.bind(load("vit"), method) for method in ("gradcam", "legrad")}
    reached = {
        m: hits(bound(batch("vit", scenes), targets).heatmap.numpy(), scenes)
        for m, bound in bounds.items()
    }
    assert bounds["gradcam"].layers == (NETWORKS["vit"].layer,)
    assert reached["legrad"] >= 0.8
    assert reached["gradcam"] >= 0.6


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_are_loaded_in_eval_mode_and_single_precision(name):
    network = load(name)
    assert not any(module.training for module in network.modules())
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert network(torch.zeros(2, 3, 64, 64)).shape == (2, 10)


def test_full_resolution_maps_have_the_size_of_the_input():
    network = load("gap-full")
    assert network.features(torch.zeros(1, 3, 64, 64)).shape[2:] == (64, 64)


def test_the_table_is_whole():
    assert list(NETWORKS) == ["digits", "gap-pool", "gap-full", "vit"]
    for name, card in NETWORKS.items():
        assert card.labels == LABELS
        load(name).get_submodule(card.layer)


def test_an_unknown_name_is_told_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'digits'"):
        load("digit")


def test_weights_are_small_and_scored():
    files = {name: WEIGHTS / f"{name}.safetensors" for name in NETWORKS}
    assert sum(file.stat().st_size for file in files.values()) < 3_000_000
    scores = json.loads((WEIGHTS / "scores.json").read_text())
    for name in NETWORKS:
        assert scores[name]["balanced_accuracy"] >= 0.9
        assert scores[name]["top1_is_present"] >= 0.9


def test_samples_are_the_held_out_scenes_they_say():
    samples = json.loads((SAMPLES / "samples.json").read_text())
    assert len(samples) == 6
    for sample in samples:
        scene = make_scene(sample["seed"], split="held-out", digits=len(sample["digits"]))
        with Image.open(SAMPLES / sample["file"]) as image:
            assert image.size == (128, 128)
            # Pillow's versions may resample by a grey level differently.
            assert np.abs(np.asarray(image).astype(int) - scene.image).max() <= 2
        assert sample["caption"] == scene.caption
        labels = [digit["label"] for digit in sample["digits"]]
        assert labels == [d.label for d in scene.digits]
        assert len(set(labels)) == len(labels)
        assert [tuple(digit["box"]) for digit in sample["digits"]] == [d.box for d in scene.digits]
        with torch.no_grad():
            said = load("digits")(batch("digits", [scene]))[0] > 0
        assert set(torch.nonzero(said)[:, 0].tolist()) == set(labels)
