"""The networks that are timed, each at one target layer,
with random weights and awake batch-norm statistics."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache

import torch
import torchvision
from torch import Tensor, nn

import camport
from camport.bench.networks import awake
from camport.demo import networks
from camport.demo.scenes import make_scene

OTHERS = ("torchcam", "grad-cam", "captum")
"""Other libraries' Grad-CAM, timed where they are installed."""


@dataclass(frozen=True)
class Case:
    """One network and the layer it is explained at.

    Attributes:
        name: readable id.
        model: name of the network, shared by its cases.
        layer: dotted module name, None where the choice is left to camport.
        size: height and width of the image.
        families: of the methods that are timed, in PyTorch and exported; none: Grad-CAM alone.
            Masked images are shown to the demo's small network only: thousands of them take minutes
            on any other.
        others: whether other libraries are timed too.
    """

    name: str
    model: str
    layer: str | None
    size: int = 224
    families: tuple[str, ...] = ()
    others: bool = False


CASES = (
    Case("resnet18-layer4", "resnet18", "layer4", families=("activation", "input-gradient")),
    Case("resnet50-layer4", "resnet50", "layer4", others=True),
    Case("resnet50-layer2", "resnet50", "layer2"),
    Case("vgg16-features.29", "vgg16", "features.29"),
    Case("mobilenet_v3_large-features", "mobilenet_v3_large", "features", others=True),
    Case("densenet121-features", "densenet121", "features"),
    Case("vit_b_16-auto", "vit_b_16", None, families=("attention",)),
    Case(
        "demo-digits-layer3",
        "demo-digits",
        "layer3",
        size=128,
        families=("activation", "input-gradient", "perturbation"),
    ),
)


@dataclass(frozen=True)
class Entry:
    """One line of the table: something that is run beside a bare forward pass of the same engine.

    Attributes:
        case: the network.
        engine: "torch" or "onnx".
        what: "bare", a method's name, or another library's.
    """

    case: Case
    engine: str
    what: str

    def __str__(self) -> str:
        return f"{self.case.name}-{self.engine}-{self.what}"


def entries() -> Iterator[Entry]:
    """All lines, case by case, so that a network and its exports are made once."""
    for case in CASES:
        timed = [
            k
            for k, info in camport.methods().items()
            if k == "gradcam" or info.family in case.families
        ]
        for what in ("bare", *timed, *(OTHERS if case.others else ())):
            yield Entry(case, "torch", what)
        for what in ("bare", *(name for name in timed if camport.methods()[name].exportable)):
            yield Entry(case, "onnx", what)


def wanted(entry: Entry, patterns: str) -> bool:
    """Whether one of the comma-separated patterns names the entry's network, case or whole id."""
    names = (entry.case.model, entry.case.name, str(entry))
    return any(fnmatch(name, pattern.strip()) for pattern in patterns.split(",") for name in names)


@lru_cache(maxsize=1)
def build(model: str) -> nn.Module:
    """The network in eval mode on the CPU; the same weights on every call.
    Callers leave it as it is."""
    torch.manual_seed(0)
    if model == "demo-digits":
        trained = (networks.WEIGHTS / "digits.safetensors").is_file()
        return (
            networks.load("digits")
            if trained
            else awake(networks.NETWORKS["digits"].factory(), torch.randn(4, 3, 128, 128))
        )
    make: Callable[..., nn.Module] = getattr(torchvision.models, model)
    return awake(make(weights=None), torch.randn(4, 3, 224, 224))


def picture(case: Case) -> Tensor:
    """One image, [1, 3, size, size]: noise; a scene for the demo's network,
    whose maps of noise are flat."""
    if case.model == "demo-digits":
        network = networks.NETWORKS["digits"]
        image = (
            torch.from_numpy(make_scene(0, split="held-out", size=case.size).image).float() / 255
        )
        return (
            ((image - torch.tensor(network.mean)) / torch.tensor(network.std))
            .permute(2, 0, 1)[None]
            .contiguous()
        )
    return torch.randn(1, 3, case.size, case.size, generator=torch.Generator().manual_seed(1))
