"""Binding a method to a model, and explaining with it."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from camport.core import registry
from camport.core.adapter import Adapter
from camport.core.checks import check_images
from camport.core.explainer import Explainer
from camport.core.explanation import Explanation
from camport.core.heatmap import minmax, upsample
from camport.core.layers import LayerName, choose, parse_layers, record
from camport.core.probe import Probe, Progress, called
from camport.core.random_state import random_state_kept
from camport.core.replica import plain, replicate, tensors, with_state
from camport.errors import FlatMapWarning, InputError, MethodError, ReluRuleWarning, ReusedLayerWarning


class Bound:
    """A method bound to a model: call it with images. Made by `camport.bind`.

    Attributes:
        model: the user's, never touched.
        explainer: the method with its options.
        adapter: calls the model and scores what it says.
        layers: names of the target layers; None until the first call where they are chosen automatically.
    """

    def __init__(
        self,
        model: nn.Module,
        explainer: Explainer,
        layer: str | Sequence[str] | None,
        adapter: Adapter,
        chunk: int,
        preprocess: Mapping[str, Any] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.model, self.explainer, self.adapter, self.chunk = model, explainer, adapter, chunk
        self.preprocess, self.labels = preprocess, labels
        self._layers: list[LayerName] | None = [] if not explainer.needs_layer else None
        if layer is not None and explainer.needs_layer:
            self._layers = parse_layers(model, layer)

    def __repr__(self) -> str:
        where = f" at {', '.join(self.layers)}" if self.layers else ""
        return f"<{self.explainer.title} of {type(self.model).__name__}{where}, {self.adapter.name}>"

    @property
    def layers(self) -> tuple[str, ...] | None:
        """Names of the target layers."""
        return None if self._layers is None else tuple(map(str, self._layers))

    def __call__(self, images: Tensor, target: Any = None, *, progress: Progress | None = None) -> Explanation:
        """Explains what the model says about each image.

        Args:
            images: [b,c,H,W] floating point, on the model's device, as the model wants them.
            target: what to explain; None is the adapter's default (classification: the top class).
            progress: called with (images done, images in all) by methods that run many variants of an image.

        Raises:
            InputError: images or target that cannot be explained.
            LayerError: a target layer that did not run or has no path to the score.
            ModelError: the model failed, or its output is not what the adapter reads.
            MethodError: the method does not fit the model.
        """
        images = check_images(images, self.model)
        given = self.adapter.prepare(target, images)
        with torch.inference_mode(False), random_state_kept(images.device):
            images = images.clone() if images.is_inference() else images
            double = replicate(self.model, lambda _, tensor: plain(tensor))
            probe = self._probe(double, images, given, validate=True, progress=progress)
            self.explainer.check(probe)
            raw = self.explainer.saliency(probe).detach().float()
            _check_traits(self.explainer, probe, raw, images)
            heatmap = minmax(upsample(raw, (images.shape[-2], images.shape[-1])))
            explanation = Explanation(
                heatmap=heatmap,
                raw=raw,
                score=probe.y,
                target=self.adapter.explained(probe.target),
                outputs=probe.outputs,
                activations=probe.activations if self._shows("activations", probe) else None,
                gradients=[g.detach() for g in probe.gradients] if self._shows("gradients", probe) else None,
                method=self.explainer.name,
                layers=self.layers or (),
                images=images,
            )
        _warn(explanation, probe)
        return explanation

    def program(self, images: Tensor) -> BoundProgram:
        """The explanation as a pure function of tensors, for export; `images` [b,c,H,W] is one example batch."""
        if not self.explainer.exportable:
            raise MethodError(
                f"{self.explainer.name} cannot be exported: {self.explainer.not_exportable_because or 'it says so'}"
            )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FlatMapWarning)
            self(images)  # refuses what does not fit, and chooses the layer
        return BoundProgram(self, check_images(images, self.model))

    def metadata(self, images: Tensor) -> dict[str, str]:
        """The `camport.*` properties of an exported file."""
        from camport import __version__

        method = {"name": self.explainer.name, "options": self.explainer.options()}
        adapter = {"name": self.adapter.name, "options": self.adapter.options()}
        preprocess = self.preprocess or {"size": [images.shape[-2], images.shape[-1]]}
        found = {
            "camport.version": __version__,
            "camport.method": json.dumps(method),
            "camport.layer": json.dumps(list(self.layers or ())),
            "camport.adapter": json.dumps(adapter),
            "camport.preprocess": json.dumps(dict(preprocess)),
        }
        if self.labels:
            found["camport.labels"] = json.dumps(list(self.labels))
        return found

    def _probe(
        self,
        double: nn.Module,
        images: Tensor,
        given: Mapping[str, Tensor],
        *,
        validate: bool = False,
        progress: Progress | None = None,
    ) -> Probe:
        if self._layers is None:
            self._layers = [choose(record(double, lambda: called(self.adapter, double, images[:1])))]
        return Probe(
            double,
            self.adapter,
            self._layers,
            images,
            given,
            needs_gradients=self.explainer.needs_gradients and self.explainer.needs_layer,
            validate=validate,
            chunk=self.chunk,
            progress=progress,
        )

    def _shows(self, what: str, probe: Probe) -> bool:
        return self.explainer.needs_layer and what in probe.used


class BoundProgram:
    """A `Bound` as a pure function of the model's tensors and the graph's inputs (`camport.core.program.Program`)."""

    def __init__(self, bound: Bound, images: Tensor) -> None:
        self.bound = bound
        self.inputs = ("images", *bound.adapter.inputs)
        self.state = tensors(bound.model)
        self._example = images

    def __call__(self, state: Mapping[str, Tensor], inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Outputs by graph name: outputs, ..., score, heatmap, feature_maps, ..., gradients, ..."""
        bound, images = self.bound, inputs["images"]
        given = {name: inputs[name] for name in bound.adapter.inputs}
        probe = bound._probe(with_state(bound.model, state), images, given)
        raw = bound.explainer.saliency(probe).detach()
        heatmap = minmax(upsample(raw, (images.shape[-2], images.shape[-1])))
        leaves = [v for v in torch.utils._pytree.tree_leaves(probe.outputs) if isinstance(v, Tensor)]
        named = dict(_numbered("outputs", leaves))
        named.update(score=probe.y, heatmap=heatmap)
        if bound._shows("activations", probe):
            named.update(_numbered("feature_maps", probe.activations))
        if bound._shows("gradients", probe):
            named.update(_numbered("gradients", [g.detach() for g in probe.gradients]))
        return named

    def example(self, batch: int = 2) -> dict[str, Tensor]:
        """Inputs to trace with."""
        return self.sample(self._example, batch, seed=0)

    def sample(self, images: Tensor, batch: int, seed: int) -> dict[str, Tensor]:
        """Inputs of `batch` images, mixed from the given ones and noise of their statistics, with other targets."""
        generator = torch.Generator().manual_seed(seed)
        like = images.detach().float().cpu()
        noise = torch.randn(batch, *like.shape[1:], generator=generator)
        mean, std = like.mean((0, 2, 3), keepdim=True), like.std((0, 2, 3), keepdim=True, correction=0)
        rows = torch.randint(like.shape[0], (batch,), generator=generator)
        drawn = (0.7 * like[rows] + 0.3 * mean + 0.5 * std * noise).to(images.dtype).to(images.device)
        with torch.no_grad():
            double = replicate(self.bound.model, lambda _, tensor: plain(tensor))
            outputs = self.bound.adapter.call(double, images[:1])
        target = self.bound.adapter.sample(outputs, batch, generator)
        return {"images": drawn, **{k: v.to(images.device) for k, v in target.items()}}


def bind(
    model: nn.Module,
    method: str | Explainer = "gradcam",
    layer: str | Sequence[str] | None = None,
    adapter: str | Adapter = "classification",
    *,
    chunk: int = 32,
    preprocess: Mapping[str, Any] | None = None,
    labels: Sequence[str] | None = None,
) -> Bound:
    """Binds a method to a model.

    Args:
        model: any nn.Module; left exactly as found. It is always explained in evaluation mode.
        method: a name from `camport.methods()`, or an Explainer instance with its options.
        layer: dotted module name, a list of names (fused), or None: chosen at the first call and reported.
            `name@0` is the first run of a module that runs several times.
        adapter: a name from `camport.adapters()`, or an Adapter instance with its options.
        chunk: images in one pass of methods that run many variants of an image.
        preprocess: how the model wants its pictures, for the metadata of an exported file: the fields of
            `camport.runtime.Preprocess`, e.g. {"size": [224, 224], "mean": [...], "std": [...]}.
        labels: the classes' names, for the same.

    Raises:
        InputError: `model` is no nn.Module.
        UnknownNameError: no such method or adapter; the nearest names are offered.
        LayerError: no such layer.
    """
    if not isinstance(model, nn.Module):
        raise InputError(f"model is {type(model).__name__}, not a torch.nn.Module")
    if chunk < 1:
        raise InputError(f"chunk is {chunk}; it is a number of images, at least 1")
    explainer = method if isinstance(method, Explainer) else registry.explainer(method)()
    bound_adapter = adapter if isinstance(adapter, Adapter) else registry.adapter(adapter)()
    return Bound(unwrapped(model), explainer, layer, bound_adapter, chunk, preprocess, labels)


def explain(
    model: nn.Module,
    images: Tensor,
    method: str | Explainer = "gradcam",
    target: Any = None,
    layer: str | Sequence[str] | None = None,
    adapter: str | Adapter = "classification",
    **options: Any,
) -> Explanation:
    """`bind` and call in one."""
    return bind(model, method, layer, adapter, **options)(images, target)


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside torch.compile, DataParallel and DistributedDataParallel."""
    inner = getattr(model, "_orig_mod", None)
    if inner is None and isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = model.module
    return unwrapped(inner) if isinstance(inner, nn.Module) else model


def _numbered(name: str, values: Sequence[Tensor]) -> Iterator[tuple[str, Tensor]]:
    for i, value in enumerate(values):
        yield (name if i == 0 else f"{name}_{i}"), value


def _check_traits(explainer: Explainer, probe: Probe, raw: Tensor, images: Tensor) -> None:
    """What a class declares has to be what its `saliency` did."""
    name = f"{type(explainer).__name__} ({explainer.name})"
    if raw.dim() != 3 or raw.shape[0] != images.shape[0]:
        raise MethodError(f"{name}.saliency returned {tuple(raw.shape)}; wanted [b,h,w] with b = {images.shape[0]}")
    for trait, declared, used in (
        ("needs_gradients", explainer.needs_gradients, "gradients" in probe.used),
        ("needs_layer", explainer.needs_layer, "activations" in probe.used),
    ):
        if declared != used:
            did = "did" if used else "did not"
            raise MethodError(f"{name} declares {trait} = {declared}, but its saliency {did} use them")


def _warn(explanation: Explanation, probe: Probe) -> None:
    for layer in probe.layers:
        runs = probe.runs_seen.get(layer.module, 1)
        if runs > 1 and layer.run is None:
            warnings.warn(
                f"layer {layer.module!r} runs {runs} times in one forward pass; run {runs - 1}, the last, was "
                f"explained. Choose with layer='{layer.module}@0' ... '{layer.module}@{runs - 1}'",
                ReusedLayerWarning,
                stacklevel=3,
            )
    if probe.relus_met == 0:
        warnings.warn("the ReLU rule met no ReLU in this model: this is the plain gradient", ReluRuleWarning, stacklevel=3)
    flat = explanation.raw.flatten(1).amax(1) == explanation.raw.flatten(1).amin(1)
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
            f"{explanation.method}: the map of image {image} is flat, its heatmap is all zeros ({reason})",
            FlatMapWarning,
            stacklevel=3,
        )
