"""The demo's networks for other tasks than classification: captions, questions, segmentation.

Their encoder is the classifier `digits`, not trained further, so its weights are not stored again.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from camport.demo.answerer import Answerer
from camport.demo.captioner import Captioner
from camport.demo.language import ANSWERS, CAPTION_WORDS
from camport.demo.networks import NETWORKS, WEIGHTS
from camport.demo.networks import load as load_classifier
from camport.demo.plain_captioner import PlainCaptioner
from camport.demo.segmenter import CLASSES, Segmenter
from camport.errors import UnknownNameError

ENCODER = "digits"


@dataclass(frozen=True)
class TaskNetwork:
    """What a user of a shipped network must know; sizes and normalisation are those of `digits`.

    Attributes:
        factory: makes the network with random weights.
        adapter: the registry name of the adapter that scores it.
        labels: names of its classes, answers or words, in the order of the logits.
        layer: the layer whose maps are explained.
    """

    factory: Callable[[], nn.Module]
    adapter: str
    labels: tuple[str, ...]
    layer: str = "encoder.layer3"


TASK_NETWORKS: dict[str, TaskNetwork] = {
    "captioner": TaskNetwork(Captioner, "captioning", CAPTION_WORDS),
    "plain-captioner": TaskNetwork(PlainCaptioner, "captioning", CAPTION_WORDS),
    "answerer": TaskNetwork(Answerer, "vqa", ANSWERS),
    "segmenter": TaskNetwork(Segmenter, "segmentation", CLASSES),
}
INPUT_SIZE, MEAN, STD = NETWORKS[ENCODER].input_size, NETWORKS[ENCODER].mean, NETWORKS[ENCODER].std


def with_encoder(name: str) -> nn.Module:
    """The network with random weights behind the classifier's trained trunk."""
    if name not in TASK_NETWORKS:
        raise UnknownNameError("demo network", name, TASK_NETWORKS)
    network = TASK_NETWORKS[name].factory()
    trunk = load_classifier(ENCODER).state_dict()
    encoder = network.get_submodule("encoder")
    encoder.load_state_dict({key: trunk[key] for key in encoder.state_dict()})
    return network


def load(name: str) -> nn.Module:
    """The trained network of this name, in eval mode and float32.

    Raises:
        UnknownNameError: a name that TASK_NETWORKS does not have.
    """
    from safetensors.torch import load_file

    network = with_encoder(name)
    state = {
        f"encoder.{key}": value
        for key, value in network.get_submodule("encoder").state_dict().items()
    }
    # stored in half precision; copying into the network's own tensors widens them again
    network.load_state_dict({**state, **load_file(WEIGHTS / f"{name}.safetensors")})
    return network.eval()
