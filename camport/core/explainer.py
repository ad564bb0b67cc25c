"""What an explainer is: a pure tensor function of a probed model, with its traits on the class."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from camport.core.option_kinds import Checked

if TYPE_CHECKING:
    from camport.core.adapter import Adapter
    from camport.core.probe import Probe


class Explainer(Checked, ABC):
    """A method that says where a model looked; abstract,
    every method is a final subclass in a file of its own.

    Options are the fields of a frozen dataclass, so that an instance is a value: comparable,
    printable, and written into the metadata of an exported file. The traits below are facts,
    checked against what `saliency` really used.

    Attributes:
        name: the registry name, e.g. "gradcam".
        title: the method's name as its paper spells it.
        paper: arXiv number or DOI, "-" where there is none.
        family: "activation" (maps at a layer), "input-gradient", "perturbation", or "attention" (of
            transformers).
        needs_gradients: `saliency` reads `probe.gradients` or `probe.input_gradient`.
        needs_layer: `saliency` reads activations at target layers; without it no layer is chosen.
        exportable: `saliency` can be captured as one graph.
        not_exportable_because: the reason where it cannot.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    paper: ClassVar[str]
    family: ClassVar[str]
    needs_gradients: ClassVar[bool]
    needs_layer: ClassVar[bool] = True
    exportable: ClassVar[bool] = True
    not_exportable_because: ClassVar[str] = ""

    @abstractmethod
    def saliency(self, probe: Probe) -> Float[Tensor, "b h w"]:
        """The method's own map at layer resolution: signed where the method is, not normalised,
        not upsampled.

        Out-of-place tensor operations only: no numpy, no `.item()`, no branch on values; the same
        code is traced for export.
        """

    def check(self, probe: Probe) -> None:
        """Raises MethodError where the method does not fit the probed model. Called eagerly,
        never traced."""

    def scored(self, adapter: Adapter) -> Adapter:
        """What scores the model where this method explains it: the user's adapter,
        unless the method is a score."""
        return adapter

    def options(self) -> dict[str, Any]:
        """The options of this instance by name, as JSON takes them: of a tensor its shape."""
        fields: Any = dataclasses.fields(self) if dataclasses.is_dataclass(self) else ()
        return {field.name: _described(getattr(self, field.name)) for field in fields}


def _described(value: Any) -> Any:
    if isinstance(value, Tensor):
        return f"tensor {list(value.shape)}"
    if isinstance(value, Explainer):
        return {"name": value.name, "options": value.options()}
    return (
        dataclasses.asdict(value)
        if dataclasses.is_dataclass(value) and not isinstance(value, type)
        else value
    )
