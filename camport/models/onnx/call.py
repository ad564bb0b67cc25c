"""One node of the file as a call of its operator's function."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from camport.models.onnx.registry import Operator
from camport.models.onnx.small import Small


@dataclass(frozen=True)
class Slot:
    """Where one input of a call comes from.

    Attributes:
        kind: "live": the values computed before, in order; "held": a tensor of the model; "known":
            a `Small`; "absent": left out.
        name: of a held tensor.
        value: of a known one.
        wants_tensor: whether a live `Small` has to be made a tensor.
    """

    kind: Literal["live", "held", "known", "absent"]
    name: str = ""
    value: Small | None = None
    wants_tensor: bool = False


@dataclass(frozen=True)
class Call:
    """A function, its attributes, and where its inputs come from.

    Attributes:
        operator: what it computes.
        label: how messages name it.
        attributes: by parameter name.
        slots: one an input.
        outputs: how many outputs the node has.
    """

    operator: Operator
    label: str
    attributes: dict[str, Any]
    slots: tuple[Slot, ...]
    outputs: int = 1

    __immutable__ = True  # shared by all doubles of a model

    def __call__(
        self, live: Sequence[Any], held: Callable[[str], Tensor], device: torch.device
    ) -> Any:
        """Runs it; `held` gives the model's tensors by name."""
        values, arguments = iter(live), []
        for slot in self.slots:
            if slot.kind == "live":
                value = next(values)
                wanted = slot.wants_tensor and isinstance(value, Small)
                arguments.append(value.tensor(device) if wanted else value)
            else:
                arguments.append(held(slot.name) if slot.kind == "held" else slot.value)
        return self.operator.function(*arguments, **self.attributes, **self._context(device))

    def _context(self, device: torch.device) -> Mapping[str, Any]:
        """What some functions want to know besides: the number of outputs,
        where to put a new tensor."""
        context: dict[str, Any] = {}
        if "outputs" in self.operator.parameters:
            context["outputs"] = self.outputs
        if "device" in self.operator.parameters:
            context["device"] = device
        return context
