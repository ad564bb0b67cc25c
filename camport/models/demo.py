"""The networks shipped with camport."""

from pathlib import Path

from camport.demo import networks
from camport.errors import UnknownNameError
from camport.models.loaded import Loaded
from camport.models.weights import load_state, read_state
from camport.runtime import Preprocess


def load(name: str, weights: Path | None, pretrained: bool) -> Loaded:
    """`demo:NAME`, with its own weights unless others are given."""
    if name not in networks.NETWORKS:
        raise UnknownNameError("demo network", name, networks.NETWORKS)
    network = networks.NETWORKS[name]
    model = networks.load(name) if pretrained else network.factory().eval()
    if weights is not None:
        load_state(model, read_state(weights), weights)
    preprocess = Preprocess(size=(network.input_size,) * 2, mean=network.mean, std=network.std)
    return Loaded(model, preprocess, network.labels, network.layer)
