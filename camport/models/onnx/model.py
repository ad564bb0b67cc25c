"""A network made of an .onnx file's nodes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camport.errors import CamportError, InputError, ModelError
from camport.models.onnx.call import Call
from camport.models.onnx.file import Port
from camport.models.onnx.given import several
from camport.models.onnx.small import Small


@dataclass(frozen=True)
class Step:
    """One step of the forward pass.

    Attributes:
        label: how messages name it.
        module: name of the node's module; empty for what computes shapes, which no one hooks.
        call: what to run where there is no module.
        inputs: names of the values that it takes.
        outputs: names of the values that it gives; empty for those nobody reads.
        done: values that nothing after it reads.
    """

    label: str
    module: str
    call: Call | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    done: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """How the nodes are run. One object, so that a double of the model shares it.

    Attributes:
        name: of the file.
        inputs: what the file takes.
        outputs: names of the values that it gives.
        steps: in order.
        channels_last: the file takes images [b,H,W,3], so that [b,3,H,W] have to be turned.
        batch: the only batch size that works; None where any does.
    """

    name: str
    inputs: tuple[Port, ...]
    outputs: tuple[str, ...]
    steps: tuple[Step, ...]
    channels_last: bool = False
    batch: int | None = None

    __immutable__ = True  # shared by all doubles of a model


STEP = 32
"""Networks halve their maps mostly up to five times."""


class OnnxModel(nn.Module):
    """The network of an .onnx file, made of torch operations: each node is a module.

    Attributes:
        plan: how the nodes are run.
        layer_aliases: other names of modules: the node's and the tensor's names in the file,
            and the names of the modules from which it was exported.
        stored: outputs that depend on nothing, and the buffers that hold them.
        target_layer: the layer to explain where the file's structure tells; None to have it chosen.
        num_classes: how many classes the file names; None where it names none.
    """

    num_classes: int | None = None

    def __init__(
        self,
        plan: Plan,
        nodes: dict[str, nn.Module],
        results: dict[str, Tensor],
        aliases: dict[str, str],
        target_layer: str | None,
    ) -> None:
        super().__init__()
        self.plan, self.layer_aliases, self.target_layer = plan, aliases, target_layer
        self.stored = {name: f"result_{i}" for i, name in enumerate(results)}
        for name, tensor in results.items():
            self.register_buffer(self.stored[name], tensor)
        for name, node in nodes.items():
            self.add_module(name, node)

    @property
    def output_names(self) -> tuple[str, ...]:
        """What the file calls what `forward` returns, in its order."""
        return self.plan.outputs

    def forward(self, *inputs: Tensor) -> Any:
        """The file's output, or a tuple of them.

        Raises:
            InputError: images that the file does not take.
            ModelError: a node failed; named.
        """
        plan = self.plan
        if len(inputs) != len(plan.inputs):
            raise ModelError(several(plan.name, plan.inputs, len(inputs)))
        values: dict[str, Any] = {}
        for port, given in zip(plan.inputs, inputs, strict=True):
            self._check(port, given)
            turned = plan.channels_last and given.dim() == 4
            values[port.name] = given.permute(0, 2, 3, 1) if turned else given
        device = inputs[0].device if inputs else torch.device("cpu")
        for step in plan.steps:
            arguments = [values[name] for name in step.inputs]
            try:
                if step.call is not None:
                    result = step.call(arguments, self._no_tensor, device)
                else:
                    result = self._modules[step.module](*arguments)  # type: ignore[misc]
            except CamportError:
                raise
            except (RuntimeError, ValueError, TypeError, IndexError) as error:
                line = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
                raise ModelError(
                    f"{plan.name}: {step.label} failed: {line}{self._size_hint(inputs)}"
                ) from error
            for name, value in zip(
                step.outputs, result if isinstance(result, tuple) else (result,), strict=False
            ):
                if name:
                    values[name] = value
            for name in step.done:
                del values[name]
        given_back = [self._result(name, values, device) for name in plan.outputs]
        return given_back[0] if len(given_back) == 1 else tuple(given_back)

    def _result(self, name: str, values: dict[str, Any], device: Any) -> Tensor:
        if name in self.stored:
            return getattr(self, self.stored[name])
        value = values[name]
        return value.tensor(device) if isinstance(value, Small) else value

    def _size_hint(self, inputs: Sequence[Tensor]) -> str:
        """That sizes may be the reason, where the file leaves them free and they are no multiples
        of 32."""
        port, given = self.plan.inputs[0], inputs[0]
        sides = given.shape[2:]
        if (
            len(port.sizes) != 4
            or given.dim() != 4
            or None not in port.sizes[1:]
            or all(n % STEP == 0 for n in sides)
        ):
            return ""
        height, width = (max(STEP, round(n / STEP) * STEP) for n in sides)
        return (
            f". It leaves the images' sizes free, and {sides[0]}x{sides[1]} may be none that it"
            f' takes; multiples of {STEP} mostly are: --preprocess \'{{"size": [{height},'
            f" {width}]}}'"
        )

    def _check(self, port: Port, given: Tensor) -> None:
        sizes = port.sizes
        if self.plan.channels_last and len(sizes) == 4:
            sizes = (sizes[0], sizes[3], sizes[1], sizes[2])
        shown = "x".join("?" if n is None else str(n) for n in (self.plan.batch, *sizes[1:]))
        shape = tuple(given.shape)
        if sizes and len(shape) != len(sizes):
            raise InputError(
                f"{self.plan.name} takes {shown} as {port.name!r}; it was given {shape}"
            )
        for wanted, found in zip(sizes[1:], shape[1:], strict=False):
            if wanted is not None and found != wanted:
                raise InputError(
                    f"{self.plan.name} takes {shown} as {port.name!r}; it was given {shape}"
                )
        if self.plan.batch is not None and shape and sizes[0] not in (None, shape[0]):
            raise InputError(
                f"{self.plan.name} was exported for a batch of {sizes[0]} and its graph has that"
                f" size built in; it was given {shape[0]}. Export it again with a dynamic batch"
            )

    def _no_tensor(self, name: str) -> Tensor:
        raise ModelError(f"{self.plan.name}: {name!r} is no tensor of the model")
