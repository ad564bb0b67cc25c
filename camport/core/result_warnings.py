"""After an explanation: traits verified, and what a user should know said as a warning."""

from __future__ import annotations

import warnings

from torch import Tensor

from camport.core.explainer import Explainer
from camport.core.explanation import Explanation
from camport.core.probe import Probe
from camport.core.running.scripted import hidden_relus
from camport.errors import (
    DoubtWarning,
    FlatMapWarning,
    MethodError,
    ReluRuleWarning,
    ReusedLayerWarning,
)


def check_traits(explainer: Explainer, probe: Probe, raw: Tensor, images: Tensor) -> None:
    """What a class declares has to be what its `saliency` did."""
    name = f"{type(explainer).__name__} ({explainer.name})"
    if raw.dim() != 3 or raw.shape[0] != images.shape[0]:
        raise MethodError(
            f"{name}.saliency returned {tuple(raw.shape)}; wanted [b,h,w] with b ="
            f" {images.shape[0]}"
        )
    for trait, declared, used in (
        ("needs_gradients", explainer.needs_gradients, "gradients" in probe.used),
        ("needs_layer", explainer.needs_layer, "activations" in probe.used),
    ):
        if declared != used:
            did = "did" if used else "did not"
            raise MethodError(
                f"{name} declares {trait} = {declared}, but its saliency {did} use them"
            )


def warn(explanation: Explanation, probe: Probe) -> None:
    """Warns of a layer that ran several times, a ReLU rule without ReLU, and flat maps,
    with the reason."""
    for layer in probe.layers:
        runs = probe.runs_seen.get(layer.module, 1)
        if runs > 1 and layer.run is None:
            warnings.warn(
                f"layer {layer.module!r} runs {runs} times in one forward pass; run {runs - 1}, the"
                f" last, was explained. Choose with layer='{layer.module}@0' ..."
                f" '{layer.module}@{runs - 1}'",
                ReusedLayerWarning,
                stacklevel=4,
            )
    for doubt in probe.adapter.doubts(probe.target, explanation.method):
        warnings.warn(doubt, DoubtWarning, stacklevel=4)
    unseen = [] if probe.relus_met is None else hidden_relus(probe.double)
    if unseen:
        where = ", ".join(repr(name) if name else "the model" for name in unseen)
        warnings.warn(
            f"the ReLU rule does not reach into TorchScript: through the ReLUs of {where} the"
            " gradient is the plain one. Explain the nn.Module that it was made of",
            ReluRuleWarning,
            stacklevel=4,
        )
    elif probe.relus_met == 0:
        warnings.warn(
            "the ReLU rule met no ReLU in this model: this is the plain gradient",
            ReluRuleWarning,
            stacklevel=4,
        )
    for image in probe.extremes.rounded():
        warnings.warn(
            f"{explanation.method}: the scores of the variants of image {image} differ by no more"
            f" than the rounding of {str(probe.extremes.dtype).removeprefix('torch.')}, so that its"
            " map shows rounding noise; explain the model in float32, or by more variants of"
            " larger parts",
            DoubtWarning,
            stacklevel=4,
        )
    flat = explanation.heatmap.flatten(1).amax(1) == 0
    if bool(flat.any()):
        image = int(flat.nonzero()[0])
        gradients = [g[image] for g in explanation.gradients or []]
        value = float(explanation.raw[image].flatten()[0])
        if gradients and not any(bool(g.any()) for g in gradients):
            reason = "dead gradient: the score does not depend on the layer for this image"
        elif value == 0:
            reason = "negative evidence only: no location speaks for the target"
        else:
            reason = f"constant map: every location has the value {value:.3g}"
        warnings.warn(
            f"{explanation.method}: the map of image {image} is flat, its heatmap is all zeros"
            f" ({reason})",
            FlatMapWarning,
            stacklevel=4,
        )
