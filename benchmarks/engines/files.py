"""What is run in every engine: a few networks, each exported once,
with images and targets that were not traced."""

import copy
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import camport
from benchmarks.kit.cases import build
from camport.demo.networks import NETWORKS
from camport.demo.scenes import make_scene
from camport.export import to_onnx
from camport.export.onnx_file.from_graph import OPSET
from camport.export.proof.float64_reference import in_float64
from camport.export.proof.parity import compare
from camport.export.report import OutputParity

Arrays = Mapping[str, np.ndarray]
BATCHES = (1, 3)


@dataclass(frozen=True)
class Subject:
    """One file.

    Attributes:
        network: as `benchmarks.kit.cases.build` knows it.
        method: what explains it.
        layer: dotted module name; None where the choice is left to camport.
        size: height and width of the images.
        timed: whether its cost over the bare network is measured too.
    """

    network: str
    method: str
    layer: str | None
    size: int = 224
    timed: bool = False

    def __str__(self) -> str:
        return f"{self.network} {self.method}" + (f" at {self.layer}" if self.layer else "")

    @property
    def is_small(self) -> bool:
        """Whether an engine that was not made to be fast may run it."""
        return self.network == "demo-digits"


SUBJECTS = (
    Subject("demo-digits", "gradcam", "layer3", 128, timed=True),
    Subject("demo-digits", "gradcam", "layer2", 128),
    Subject("demo-digits", "gradcam++", "layer3", 128),
    Subject("demo-digits", "layercam", "layer3", 128),
    Subject("demo-digits", "saliency", None, 128),
    Subject("resnet18", "gradcam", "layer4", timed=True),
    Subject("mobilenet_v3_large", "gradcam", "features", timed=True),
    Subject("mobilenet_v3_large", "gradcam", "features.6"),
    Subject("vit_b_16", "gradcam", None, timed=True),
)


@dataclass(frozen=True)
class Sample:
    """One batch: what goes in, and what the program gives in float64."""

    inputs: Mapping[str, Tensor]
    reference: Mapping[str, Tensor]

    @property
    def feeds(self) -> dict[str, np.ndarray]:
        """The inputs as arrays."""
        return {name: value.numpy() for name, value in self.inputs.items()}


class Exported:
    """A subject's file and its samples. Made in `folder`, where the file stays."""

    def __init__(self, subject: Subject, folder: Path) -> None:
        self.subject = subject
        self.model = _network(subject.network)
        bound = camport.bind(self.model, subject.method, layer=subject.layer)
        traced = pictures(subject, range(2))
        self.file = folder / f"{str(subject).replace(' ', '-').replace('+', 'p')}.onnx"
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", camport.CamportWarning)
            to_onnx(bound, self.file, traced)
            self.program = bound.program(traced)
            self.samples = [self._sample(batch) for batch in BATCHES]

    def _sample(self, batch: int) -> Sample:
        """Images of their own; targets a class each, -1 (the top one) for the second image."""
        images = pictures(self.subject, range(100 * batch, 100 * batch + batch))
        classes = self.model(images).shape[1]
        target = torch.tensor([(3 + 4 * i) % classes for i in range(batch)])
        target[1:2] = -1
        inputs = {"images": images, "target": target}
        return Sample(inputs, in_float64(self.program, self.program.state, inputs))

    def parity(self, run: Callable[[Arrays], Arrays]) -> dict[str, OutputParity]:
        """How far an engine is from float64, per output the worse of both batches."""
        worst: dict[str, OutputParity] = {}
        for sample in self.samples:
            found = {
                name: torch.from_numpy(np.array(value)) for name, value in run(sample.feeds).items()
            }
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", camport.CamportWarning)
                parity = compare(
                    self.program,
                    self.program.state,
                    lambda _, found=found: found,
                    sample.inputs,
                    sample.reference,
                )
            for name, value in parity.items():
                if name not in worst or not value.exported <= worst[name].exported:
                    worst[name] = value
        return worst

    def bare(self, folder: Path) -> Path:
        """The network alone by plain torch.onnx.export."""
        file = folder / f"{self.subject.network}.onnx"
        images = pictures(self.subject, range(2))
        axes: Any = ({0: torch.export.Dim("b")},)
        torch.onnx.export(
            self.model,
            (images,),
            file,
            input_names=["images"],
            output_names=["outputs"],
            dynamic_shapes=axes,
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
            external_data=False,  # a browser has no files to read it from
        )
        return file


def _network(name: str) -> nn.Module:
    """The network with a head that says something:
    torchvision's transformers are born with zeros in theirs."""
    model = copy.deepcopy(build(name))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for layer in model.modules():
            if isinstance(layer, nn.Linear) and not layer.weight.any():
                layer.weight.copy_(torch.randn(layer.weight.shape, generator=generator) * 0.1)
    return model


def pictures(subject: Subject, seeds: range) -> Tensor:
    """Images [b,3,H,W], one a seed: scenes of digits for the demo's network,
    noise for the others."""
    return torch.stack(list(_pictures(subject, seeds)))


def _pictures(subject: Subject, seeds: range) -> Iterator[Tensor]:
    network = NETWORKS["digits"]
    for seed in seeds:
        if subject.network == "demo-digits":
            scene = (
                torch.from_numpy(
                    make_scene(seed, split="held-out", size=subject.size).image
                ).float()
                / 255
            )
            yield (
                ((scene - torch.tensor(network.mean)) / torch.tensor(network.std))
                .permute(2, 0, 1)
                .contiguous()
            )
        else:
            yield torch.randn(
                3, subject.size, subject.size, generator=torch.Generator().manual_seed(seed)
            )
