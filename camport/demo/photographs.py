"""Photographs that Python packages carry, with boxes drawn by hand: a first truth on real images.

Nine photographs of scikit-image, scikit-learn and matplotlib, and eleven questions: an ImageNet
class that `demo:imagenet` has among its ten likeliest, and boxes around what is meant. Truth that
is exact to the pixel is in `camport.demo.scenes`; boxes are not, and eleven questions rank no two
methods that are close.

Sixteen further pictures of scikit-image show no class that the network knows; other packages with
such photographs (gradio's lion and cheetahs) name no licence of them, and are no dependency for a
demo.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from camport.demo.carried import carried
from camport.errors import InputError, UnknownNameError
from camport.runtime import Placement, Preprocess, open_image

Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Question:
    """Where in a photograph is this class?

    Attributes:
        label: the class's name, as `camport.demo.imagenet.labels` has it.
        target: its index.
        boxes: xyxy in pixels of the photograph; what is meant lies in them and nowhere else.
    """

    label: str
    target: int
    boxes: tuple[Box, ...]


@dataclass(frozen=True)
class Source:
    """Where a photograph lies, and whose it is.

    Attributes:
        file: in the package that carries it, from the package's import name on.
        licence: of the photograph, with its author.
        questions: what is asked about it.
    """

    file: str
    licence: str
    questions: tuple[Question, ...]


SOURCES: dict[str, Source] = {
    "chelsea": Source(
        "skimage/data/chelsea.png",
        "CC0, Stefan van der Walt",
        (Question("tiger cat", 282, ((0, 0, 378, 300),)),),
    ),
    "coffee": Source(
        "skimage/data/coffee.png",
        "CC0, Rachel Michetti",
        (
            Question("espresso", 967, ((203, 93, 370, 195),)),
            Question("cup", 968, ((173, 16, 406, 308),)),
        ),
    ),
    "motorcycle": Source(
        "skimage/data/motorcycle_left.png",
        "no licence is named; the Middlebury 2014 stereo datasets, published by Scharstein et al.,"
        " GCPR 2014",
        (
            Question("moped", 665, ((93, 81, 683, 450),)),
            Question("disk brake", 535, ((538, 330, 616, 408),)),
        ),
    ),
    "camera": Source(
        "skimage/data/camera.png",
        "CC0, Lav Varshney",
        (Question("tripod", 872, ((230, 187, 405, 512),)),),
    ),
    "rocket": Source(
        "skimage/data/rocket.jpg",
        "public domain, SpaceX",
        (Question("missile", 657, ((306, 126, 342, 408),)),),
    ),
    "astronaut": Source(
        "skimage/data/astronaut.png",
        "public domain, NASA",
        (Question("crash helmet", 518, ((279, 345, 512, 512),)),),
    ),
    "china": Source(
        "sklearn/datasets/images/china.jpg",
        "CC BY 2.0, danielbuechele",
        (Question("palace", 698, ((65, 30, 372, 392),)),),
    ),
    "flower": Source(
        "sklearn/datasets/images/flower.jpg",
        "CC BY 2.0, vultilion",
        (Question("daisy", 985, ((169, 84, 446, 360), (287, 375, 470, 427))),),
    ),
    "grace_hopper": Source(
        "matplotlib/mpl-data/sample_data/grace_hopper.jpg",
        "public domain, United States Navy",
        (Question("military uniform", 652, ((157, 23, 371, 165), (14, 318, 512, 600))),),
    ),
}
"""The photographs by name. A dahlia is called a daisy and a Falcon 9 a missile:
ImageNet has no nearer class."""


@dataclass(frozen=True)
class Photograph:
    """A photograph with one question about it.

    Attributes:
        name: in `SOURCES`.
        image: RGB.
        label, target, boxes: as `Question` has them.
    """

    name: str
    image: Image
    label: str
    target: int
    boxes: tuple[Box, ...]

    def region(self, placement: Placement) -> NDArray[np.bool_]:
        """The boxes in the network's frame, bool [H,W]:
        the pixels whose centre lies in one of them.

        Args:
            placement: where the photograph lies in that frame, as `Preprocess.apply` says.
        """
        height, width = placement.network
        found = np.zeros((height, width), dtype=bool)
        rows, columns = np.arange(height)[:, None] + 0.5, np.arange(width) + 0.5
        for x0, y0, x1, y1 in placement.boxes_to_network(np.array(self.boxes)):
            found |= (x0 <= columns) & (columns < x1) & (y0 <= rows) & (rows < y1)
        return found


def photograph(name: str) -> Image:
    """The photograph of this name, RGB.

    Raises:
        UnknownNameError: a name that SOURCES does not have.
        MissingDependencyError: the package that carries it is not installed, or carries it no more.
    """
    if name not in SOURCES:
        raise UnknownNameError("photograph", name, SOURCES)
    return open_image(carried(SOURCES[name].file))


def photographs() -> Iterator[Photograph]:
    """Every question with its photograph, in the order of SOURCES.

    Raises:
        MissingDependencyError: a package that carries one of them is not installed.
    """
    for name, source in SOURCES.items():
        image = photograph(name)
        for asked in source.questions:
            yield Photograph(name, image, asked.label, asked.target, asked.boxes)


def batches(preprocess: Preprocess, size: int = 4) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """The questions as `camport.metrics.evaluation.Batch` has them: images [b,3,H,W], targets [b],
    regions [b,H,W].

    Args:
        preprocess: how the network wants its images; of one size, e.g. that of
            `load_model("demo:imagenet")`.
        size: questions in a batch.

    Raises:
        InputError: a preprocessing without a size, whose images no batch holds, or a size below 1.
        MissingDependencyError: a package that carries one of them is not installed.
    """
    if preprocess.size is None or preprocess.stride is not None:
        raise InputError(
            "photographs have sizes of their own; a batch needs a Preprocess with one size, e.g."
            " (224, 224)"
        )
    if size < 1:
        raise InputError(f"size is {size}; a batch has one question or more")
    found = list(photographs())
    for start in range(0, len(found), size):
        some = found[start : start + size]
        applied = [preprocess.apply(one.image) for one in some]
        yield (
            torch.from_numpy(np.stack([pixels for pixels, _ in applied])),
            torch.tensor([one.target for one in some]),
            torch.from_numpy(
                np.stack(
                    [one.region(placed) for one, (_, placed) in zip(some, applied, strict=True)]
                )
            ),
        )
