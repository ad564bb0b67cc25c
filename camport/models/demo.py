"""The networks shipped with camport, and the ImageNet classifier of its demo."""

from dataclasses import replace
from functools import partial
from pathlib import Path

from camport.demo import detector, imagenet, networks, task_networks
from camport.errors import UnknownNameError
from camport.models.loaded import Loaded
from camport.models.weights import load_state, read_state
from camport.runtime import Preprocess


def load(name: str, weights: Path | None, pretrained: bool) -> Loaded:
    """`demo:NAME`, with its own weights unless others are given."""
    if name in task_networks.TASK_NETWORKS:
        return _of_task(name, weights, pretrained)
    if name == "imagenet":
        return _imagenet(weights, pretrained)
    cards = {**networks.NETWORKS, "detector": detector.CARD}
    if name not in cards:
        raise UnknownNameError(
            "demo network", name, ["imagenet", *cards, *task_networks.TASK_NETWORKS]
        )
    network, detects = cards[name], name == "detector"
    trained = detector.load if detects else partial(networks.load, name)
    model = trained() if pretrained else network.factory().eval()
    if weights is not None:
        load_state(model, read_state(weights), weights)
    preprocess = Preprocess(size=(network.input_size,) * 2, mean=network.mean, std=network.std)
    if detects:
        preprocess = replace(preprocess, fit="letterbox")
    return Loaded(
        model,
        preprocess,
        network.labels,
        network.layer or None,
        "detection" if detects else "classification",
    )


def _of_task(name: str, weights: Path | None, pretrained: bool) -> Loaded:
    card = task_networks.TASK_NETWORKS[name]
    model = task_networks.load(name) if pretrained else card.factory().eval()
    if weights is not None:
        load_state(model, read_state(weights), weights)
    side = task_networks.INPUT_SIZE
    preprocess = Preprocess(size=(side, side), mean=task_networks.MEAN, std=task_networks.STD)
    return Loaded(model, preprocess, card.labels, card.layer, card.adapter)


def _imagenet(weights: Path | None, pretrained: bool) -> Loaded:
    model = imagenet.load() if pretrained else imagenet.factory().eval()
    if weights is not None:
        load_state(model, read_state(weights), weights)
    preprocess = Preprocess(
        size=(imagenet.INPUT_SIZE,) * 2,
        fit="crop",
        resize=imagenet.RESIZE,
        interpolation=imagenet.INTERPOLATION,
        mean=imagenet.MEAN,
        std=imagenet.STD,
    )
    return Loaded(model, preprocess, imagenet.labels())
