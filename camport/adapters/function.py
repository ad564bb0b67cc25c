"""Any function of the outputs as a target."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from camport.adapters.answer import Answer, said
from camport.adapters.reading import a_row_each, described, numbers, parts_of
from camport.core.adapter import Adapter
from camport.core.maps.loop import traced
from camport.errors import InputError, ModelError


def loudest(outputs: Any) -> Tensor:
    """The largest number that the model says about each image."""
    first = next(
        (v for v in tree_leaves(outputs) if isinstance(v, Tensor) and v.is_floating_point()), None
    )
    if first is None or not first.dim():
        raise ModelError(
            f"the model returned {type(outputs).__name__} without a floating-point tensor"
        )
    return first.flatten(1).amax(1)


@dataclass(frozen=True)
class FunctionAdapter(Adapter):
    """Explains y = `function(outputs, *tensors)`, any tensor maths from the model's outputs to [b].

    The outputs may be of any kind, a list with a dictionary for each image too. b is the number of
    images: a function of outputs [t,b,k] has to give [b] as well.

    ```python
    adapter = FunctionAdapter(
        lambda z, weights: (z * weights).sum(1), examples=(("weights", (1.0, 0.0, 0.0)),)
    )
    bound = camport.bind(model, "gradcam", adapter=adapter)
    bound(images, {"weights": torch.tensor([0.5, 0.5, 0.0])})
    ```

    Args:
        function: differentiable in the outputs, without branches on values; a row of its result is
            about that image.
        examples: for every further tensor its name and an example for one image, as numbers in
            (nested) tuples. The names are the graph inputs of an exported file; the examples are
            what is explained without a target.
    """

    name: ClassVar[str] = "function"
    title: ClassVar[str] = "Any function of the model's outputs"

    function: Callable[..., Tensor] = loudest
    examples: tuple[tuple[str, Any], ...] = ()

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise InputError(
                f"function is {self.function!r}; wanted a callable of (outputs, *tensors)"
            )
        for name, value in self.examples:
            if not name.isidentifier():
                raise InputError(
                    f"examples has the name {name!r}; names are made of letters, digits and _"
                )
            numbers(value, name, "an example in numbers", torch.float64, torch.device("cpu"))

    @property
    def inputs(self) -> tuple[str, ...]:
        """The names in `examples`."""
        return tuple(name for name, _ in self.examples)

    def prepare(self, target: Any, images: Float[Tensor, "b c H W"]) -> dict[str, Tensor]:
        """Each tensor with a row an image; what is left out is as in the examples."""
        if target is not None and not isinstance(target, Mapping) and len(self.examples) == 1:
            target = {self.inputs[0]: target}
        example = f"{{{self.inputs[0]!r}: ...}}" if self.examples else "None"
        given = {} if target is None else parts_of(target, self.inputs, example)
        prepared = {}
        for name, value in self.examples:
            like = self._example(value, images)
            wanted = f"{list(like.shape)} or [b, ...]"
            tensor = numbers(given.get(name, value), name, wanted, like.dtype, images.device)
            prepared[name] = a_row_each(tensor, like.dim() + 1, images.shape[0], name, wanted)
            if prepared[name].shape[1:] != like.shape:
                raise InputError(f"{name} has shape {tuple(tensor.shape)}; wanted {wanted}")
        return prepared

    def call(self, model: nn.Module, images: Float[Tensor, "b c H W"]) -> Any:
        """The model's outputs, with the number of images."""
        return Answer(model(images), images.shape[0])

    def said(self, outputs: Any) -> Any:
        """The model's own output."""
        return said(outputs)

    def check(self, outputs: Any, target: Mapping[str, Tensor]) -> None:
        """ModelError where the function does not give [b]."""
        try:
            y = self.score(outputs, target)
        except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as error:
            raise ModelError(
                f"the function failed on the model's outputs: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(y, Tensor) or not y.is_floating_point():
            shown = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
            raise ModelError(
                f"the function gives {shown}; wanted floating-point [b], b the number of images"
            )

    def resolve(self, outputs: Any, target: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """As given, and a zero an image, which is what is shown of a target that is none."""
        return {
            **target,
            "_image": torch.zeros_like(self.score(outputs, target), dtype=torch.int64),
        }

    def score(self, outputs: Any, target: Mapping[str, Tensor]) -> Float[Tensor, " b"]:
        """The function's value; ModelError where it is not of each image."""
        y = self.function(said(outputs), *(target[name] for name in self.inputs))
        if (
            isinstance(y, Tensor)
            and isinstance(outputs, Answer)
            and not traced()
            and y.shape != (outputs.images,)
        ):
            raise ModelError(
                f"the function gives {tuple(y.shape)}; wanted floating-point [b] with b ="
                f" {outputs.images}, the number of images. The model returned"
                f" {described(outputs.outputs)}"
            )
        return y

    def explained(self, target: Mapping[str, Tensor]) -> Tensor:
        """The first tensor; zeros where there is none."""
        return target[self.inputs[0]] if self.examples else target["_image"]

    def sample(self, outputs: Any, batch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Numbers around the examples; whole numbers up to the largest among them."""
        drawn = {}
        for name, value in self.examples:
            like = self._example(value, torch.zeros(()))
            shape = (batch, *like.shape)
            if like.is_floating_point():
                drawn[name] = like.cpu() + torch.randn(shape, generator=generator)
            else:
                drawn[name] = torch.randint(int(like.max()) + 1, shape, generator=generator)
        return drawn

    def options(self) -> dict[str, Any]:
        """The function by its name."""
        return {
            "function": getattr(self.function, "__qualname__", repr(self.function)),
            "inputs": list(self.inputs),
        }

    def _example(self, value: Any, like: Tensor) -> Tensor:
        tensor = torch.as_tensor(value, device=like.device)
        return tensor.to(like.dtype) if tensor.is_floating_point() else tensor.to(torch.int64)
