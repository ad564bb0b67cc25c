"""What an adapter is: the one place that knows the task. It turns what a model said into one scalar
an image."""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from camport.core.maps.heatmap import Size, upsample
from camport.core.maps.token_grid import Grid, find_grid
from camport.core.option_kinds import Checked
from camport.core.running.layers import LayerName, choose
from camport.core.running.runs import Run
from camport.errors import PluginError
from camport.targets import Field, arrays


class Adapter(Checked, ABC):
    """Turns a model's output into y^c [b], the differentiable score that is explained; abstract.

    `call`, `resolve` and `score` are tensor maths without branches on values and are traced for
    export. `prepare` and `check` run eagerly and are where bad input is refused.

    Attributes:
        name: the registry name, e.g. "classification".
        title: one line for people.
        method: the method that is used where none is named.
        lists: without a target, `listed` finds several in an image, each explained for itself.
        settles_in_passing: `settled` takes what the first explanation hears of all images, so that
            no pass is made for it alone; "one image": where it is of one image, since outputs of
            several may be read in more ways.
        fields: what a target may say, as data: an adapter that declares them needs no `inputs`,
            `prepare`, `resolve`, `explained` and `sample` of its own, and the command line takes
            `--target NAME=VALUE` for it.
        sized: which axes of which inputs have the images' height "H" and width "W", e.g. {"mask":
            {1: "H", 2: "W"}}.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    method: ClassVar[str] = "gradcam"
    lists: ClassVar[bool] = False
    settles_in_passing: ClassVar[bool | Literal["one image"]] = False
    fields: ClassVar[tuple[Field, ...]] = ()
    sized: ClassVar[Mapping[str, Mapping[int, str]]] = {}

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors a target consists of; they are the graph inputs beside `images`."""
        return tuple(field.name for field in self._fields("inputs"))

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """The user's target as tensors on the device of `images`, named as `inputs`; InputError
        where it is wrong.

        Of `fields`: a mapping by name, or the value of the first, for all images or one for each.
        """
        named = target if isinstance(target, Mapping) else None
        given = target if named is None else {name: _local(value) for name, value in named.items()}
        found = arrays(self._fields("prepare"), _local(given), images.shape[0])
        return {name: torch.from_numpy(array).to(images.device) for name, array in found.items()}

    def prepare_for(
        self, model: nn.Module, target: Any, images: Float[Tensor, "b c H W"]
    ) -> dict[str, Tensor]:
        """As `prepare`, with the model at hand where it says what the user left out: the caption it
        would write."""
        return self.prepare(target, images)

    def call(self, model: nn.Module, images: Float[Tensor, "b c H W"]) -> Any:
        """Calls the model."""
        return model(images)

    def ask(
        self, model: nn.Module, images: Float[Tensor, "b c H W"], target: Mapping[str, Tensor]
    ) -> Any:
        """Calls the model about a target, where that is a further input of it: tokens, a question,
        a box."""
        return self.call(model, images)

    @abstractmethod
    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """Raises ModelError or InputError where outputs and target do not fit. Called eagerly,
        never traced."""

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The target with its defaults filled in from the outputs, e.g. -1 replaced by the top
        class."""
        self._fields("resolve")
        return dict(target)

    @abstractmethod
    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """y^c of a resolved target, differentiable with respect to `outputs`."""

    def probability(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """The score as a probability, for methods that weigh by confidence; the score itself where
        there is none."""
        return self.score(outputs, target)

    def explained(self, target: Mapping[str, Tensor]) -> Tensor:
        """What `Explanation.target` shows of a resolved target: the first field."""
        return target[self._fields("explained")[0].name]

    def sample(self, outputs: Any, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """A target for `batch` images as a user might give it, to compare an exported graph with
        eager PyTorch."""
        raise PluginError(f"{type(self).__name__} has neither `sample` nor `sample_for`")

    def sample_for(
        self, images: Float[Tensor, "n c H W"], outputs: Any, batch: int, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """As `sample`, for adapters whose targets have the images' size; of `fields`, random
        values."""
        if self.fields and type(self).sample is Adapter.sample:
            return {
                field.name: _drawn(field, images.shape[2:], batch, generator)
                for field in self.fields
            }
        return self.sample(outputs, batch, generator)

    def unwrap(self, model: nn.Module) -> nn.Module:
        """The network itself, where the user's object is a wrapper that keeps gradients from it."""
        return model

    def settled(self, model: nn.Module, outputs: Any) -> Adapter:
        """This adapter with everything fixed that is told by the values of the model's outputs for
        one image.

        Asked once, before anything is explained or traced.
        """
        return self

    def settles_of(self, images: int) -> bool:
        """Whether the first explanation of so many images settles it in passing."""
        return self.settles_in_passing is True or (
            self.settles_in_passing == "one image" and images == 1
        )

    def layers(self, runs: Sequence[Run]) -> list[LayerName]:
        """The target layers where the user names none, from the runs of the modules in one forward
        pass.

        A rule of an adapter's own takes runs for which `run.fits` holds: they move with the image,
        lie on it and lead to the score. Asked again where those that were taken turn out to have no
        gradient, to be the output itself, or to lie on the image in no order that is told.
        """
        return [choose(runs)]

    def listed(self, outputs: Any) -> dict[str, Tensor]:
        """For adapters that list: the targets in one image, a row each, as `resolve` takes them."""
        raise NotImplementedError(f"{type(self).__name__} declares lists = True and does not list")

    def said(self, outputs: Any) -> Any:
        """The model's own output, where `call` puts something around it."""
        return outputs

    def classes_of(self, outputs: Any) -> int | None:
        """How many classes a target may name, for the metadata of an exported file; None where that
        is not known."""
        return None

    def figures(self, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `Explanation.figures` tells of a resolved target."""
        return {}

    def doubts(self, target: Mapping[str, Tensor], method: str) -> Iterator[str]:
        """Sentences that warn of what was explained, or of a method that does not fit it."""
        return iter(())

    def lay(
        self, maps: Float[Tensor, "b h w"], size: Size, model: nn.Module
    ) -> Float[Tensor, "b H W"]:
        """A method's maps at the images' size, where they lie on the images."""
        return upsample(maps, size)

    @property
    def frames(self) -> bool:
        """Whether the maps cover another frame than the images', which a `lay` of the adapter's own
        takes off."""
        return type(self).lay is not Adapter.lay

    def frame(self, size: Size, model: nn.Module) -> Size:
        """The (height, width) that the model's maps cover, for images of `size`: where it resizes
        and pads inside, another than theirs.
        """
        return size

    def grid(
        self, activation: Tensor, image_size: Size, model: nn.Module, module: nn.Module, name: str
    ) -> Grid:
        """How the output of `module`, called `name`, lies on the image; LayerError where it is no
        map."""
        return find_grid(activation, image_size, model, module, name)

    def options(self) -> dict[str, Any]:
        """The options of this instance by name."""
        return dataclasses.asdict(self) if dataclasses.is_dataclass(self) else {}

    def _fields(self, lacking: str) -> tuple[Field, ...]:
        if not self.fields:
            raise PluginError(
                f"{type(self).__name__} declares no `fields` and does not implement `{lacking}`"
            )
        return self.fields


def _local(value: Any) -> Any:
    if not isinstance(value, Tensor):
        return value
    value = value.detach().cpu()
    # NumPy has no bfloat16
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()


def _drawn(field: Field, size: Sequence[int], batch: int, generator: torch.Generator) -> Tensor:
    """Random values of a field, a row an image: two neighbouring whole numbers, from the least one
    on or up to the most, and places in the image."""
    if field.kind in ("class", "integer"):
        first, last = _span(field, 1)
        least = math.ceil(first)
        return torch.randint(least, max(least, math.floor(last)) + 1, (batch,), generator=generator)
    drawn = torch.rand(batch, *field.shape, generator=generator)
    if field.kind == "number":
        first, last = _span(field, 1)
        return drawn * (last - first) + first
    height, width = size
    if field.kind == "box":
        drawn = torch.cat([drawn[:, :2] * 0.5, drawn[:, :2] * 0.5 + 0.25 + drawn[:, 2:] * 0.25], 1)
    return drawn * torch.tensor([width, height] * (len(drawn[0]) // 2))


def _span(field: Field, width: float) -> tuple[float, float]:
    """Where values of a field are drawn: at most `width` wide, from the least on, else up to the
    most where 0 is beyond it."""
    if field.least is not None:
        first = field.least
    else:
        first = 0.0 if field.most is None else min(0.0, field.most - width)
    return first, first + width if field.most is None else min(first + width, field.most)
