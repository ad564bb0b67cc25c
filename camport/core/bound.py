"""A method bound to a model, and the same as a pure function for export."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from camport.core.adapter import Adapter
from camport.core.bound_program import BoundProgram
from camport.core.explainer import Explainer
from camport.core.explanation import Explanation, joined
from camport.core.file_metadata import file_metadata
from camport.core.isolation.module_classes import eager
from camport.core.isolation.private_copy import double_of
from camport.core.isolation.random_state import random_state_kept
from camport.core.isolation.versions import unchanged
from camport.core.isolation.writes import WrittenError, restarted
from camport.core.maps.loop import Tick, limited
from camport.core.maps.ruled_out import any_ruled_out
from camport.core.probe import Probe
from camport.core.recipe import explained
from camport.core.result_warnings import check_traits, warn
from camport.core.running.alone import check_alone
from camport.core.running.call_model import one_each, prepared, rows
from camport.core.running.checks import check_images, check_initialised
from camport.core.running.chunk_size import within_memory
from camport.core.running.derivative import NoPathError
from camport.core.running.evaluation import Evaluation
from camport.core.running.layers import LayerName, Layers, parse_layers
from camport.core.running.mixing import Mixed, Mixing, mixes
from camport.core.running.not_finite import check_finite
from camport.core.running.reading import Readings
from camport.core.running.settling import Settled, read, settle, warn_of_others
from camport.core.running.unrecorded import blamed
from camport.errors import (
    DoubtWarning,
    ExportError,
    FlatMapWarning,
    MethodError,
    silenced,
)


class Bound:
    """A method bound to a model: call it with images. Made by `camport.bind`.

    Attributes:
        model: the user's, never touched.
        explainer: the method with its options.
        adapter: calls the model and scores what it says.
        layers: names of the target layers; None until the first call where they are chosen
            automatically.
    """

    def __init__(
        self,
        model: nn.Module,
        explainer: Explainer,
        layer: Layers | None,
        adapter: Adapter,
        chunk: int | None,
        preprocess: Mapping[str, Any] | None = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        self.model, self.explainer, self.adapter, self.chunk = model, explainer, adapter, chunk
        self.preprocess, self.labels = preprocess, labels
        self._settled, self._readings, self._mixing = False, Readings(), Mixing()
        self._classes: int | None = None  # known when a program is made
        self._layers: list[LayerName] | None = [] if not explainer.needs_layer else None
        if layer is not None and explainer.needs_layer:
            self._layers = parse_layers(model, layer)

    def __repr__(self) -> str:
        where = f" at {', '.join(self.layers)}" if self.layers else ""
        return (
            f"<{self.explainer.title} of {type(self.model).__name__}{where}, {self.adapter.name}>"
        )

    @property
    def layers(self) -> tuple[str, ...] | None:
        """Names of the target layers."""
        return None if self._layers is None else tuple(map(str, self._layers))

    def __call__(
        self, images: Tensor, target: Any = None, *, progress: Tick | None = None
    ) -> Explanation:
        """Explains what the model says about each image.

        Args:
            images: [b,c,H,W] floating point, on the model's device, as the model wants them.
            target: what to explain; None is the adapter's default (classification: the top class).
            progress: called with (images done, images in all) by methods that run many variants of
                an image.

        Raises:
            InputError: images or target that cannot be explained.
            LayerError: a target layer that did not run or has no path to the score.
            ModelError: the model failed, or its output is not what the adapter reads.
            OutOfMemoryError: the memory does not hold the images and what the model makes of them.
            MethodError: the method does not fit the model.
        """
        with within_memory(images, self.chunk) if isinstance(images, Tensor) else nullcontext():
            images = check_images(images, self.model)
        lists = target is None and self.adapter.lists
        if lists and images.shape[0] > 1:
            return joined([self(image[None], progress=progress) for image in images])
        given = self._prepared(target, images)
        try:
            return self._explained(images, given, lists, progress)
        except Mixed as mixed:
            return self._singly(mixed, images, given, progress)

    def again(self, images: Tensor, target: Mapping[str, Tensor]) -> Explanation:
        """Explains changed images with respect to what was explained in the clean ones.

        Args:
            images: [b,c,H,W].
            target: as it was resolved on the clean images, a row an image: `Scorer.target`.

        Raises:
            CamportError: as a call.
        """
        images = check_images(images, self.model)
        try:
            return self._explained(images, target, lists=False)
        except Mixed as mixed:
            return self._singly(mixed, images, target)

    def _singly(
        self,
        mixed: Mixed,
        images: Tensor,
        given: Mapping[str, Tensor],
        progress: Tick | None = None,
    ) -> Explanation:
        """Each image alone, of a model that does not take several."""
        pairs = zip(images.split(1), one_each(given, images.shape[0]), strict=True)
        found = joined([self._explained(image, one, False, progress) for image, one in pairs])
        what = f"{type(self.model).__name__} {mixed}. Each was run and explained alone"
        warnings.warn(what, DoubtWarning, stacklevel=3)
        return found

    def _explained(
        self, images: Tensor, given: Mapping[str, Tensor], lists: bool, progress: Tick | None = None
    ) -> Explanation:
        with (
            within_memory(images, self.chunk),
            torch.inference_mode(False),
            random_state_kept(images.device, self.model),
            unchanged(self.model),
        ):
            images = images.clone() if images.is_inference() else images
            try:
                explanation, probe = self._once(images, given, progress, lists)
            except WrittenError:  # the next double shares no parameter
                explanation, probe = self._once(images, given, progress, lists)
        with within_memory(images, self.chunk):
            warn(explanation, probe)
        return explanation

    def settled(self, images: Tensor, target: Any = None) -> Settled:
        """The runs of one forward pass, and the target layers among them: as named, or as a first
        call chooses them.

        Args:
            images: [b,c,H,W], of which the first is run.
            target: as in a call.
        """
        images = check_images(images, self.model)
        given = self._prepared(target, images)
        memory = within_memory(images, self.chunk)
        with memory, torch.inference_mode(False), random_state_kept(images.device, self.model):
            found = restarted(
                lambda: self._found(images, given, target is None and self.adapter.lists)
            )
        return found if self._layers is None else replace(found, layers=self._layers, refused=None)

    def program(self, images: Tensor, target: Any = None) -> BoundProgram:
        """The explanation as a pure function of tensors, for export.

        Args:
            images: [b,c,H,W], one example batch.
            target: an example target, for adapters without a default.
        """
        if not self.explainer.exportable:
            raise MethodError(
                f"{self.explainer.name} cannot be exported:"
                f" {self.explainer.not_exportable_because or 'it says so'}"
            )
        for name, module in self.model.named_modules():
            reason = getattr(module, "not_exportable_because", None)
            if reason:
                raise ExportError(
                    f"layer {name!r} ({type(module).__name__}) cannot be exported: {reason}"
                )
        with silenced(FlatMapWarning), limited(2):
            # refuses what does not fit, and chooses the layer; nothing is listed, so nothing need
            # be found in `images`
            images = check_images(images, self.model)
            given = self._prepared(target, images)
            try:
                self._explained(images, given, lists=False)
                mixes = self._mixes(images[:1], rows(given, 1))
            except Mixed:
                mixes = True
                # settles the layer and the reading
                self._explained(images[:1], rows(given, 1), lists=False)
        example = rows(self._prepared(target, images), 1)
        with torch.no_grad(), random_state_kept(images.device, self.model):
            outputs = self.adapter.ask(double_of(self.model), images[:1].clone(), example)
            self._classes = self.adapter.classes_of(outputs)
        return BoundProgram(self, example, mixes, any_ruled_out(outputs))

    def metadata(self, images: Tensor) -> dict[str, str]:
        """The `camport.*` properties of an exported file."""
        return file_metadata(self, images, self._classes)

    def _double(self) -> nn.Module:
        try:
            return double_of(self.model, eager)
        except Exception:
            # looked at here alone, since it takes a hundredth of an explanation
            check_initialised(self.model)
            raise

    def _once(
        self, images: Tensor, given: Mapping[str, Tensor], progress: Tick | None, lists: bool
    ) -> tuple[Explanation, Probe]:
        double = self._double()
        probe = self._probe(double, images, given, validate=True, progress=progress, lists=lists)
        try:
            if lists:
                # tells how many rows the target has, so that no property of the probe runs it
                probe.evaluation.run()
            self.explainer.check(probe)
            found = explained(self.explainer, probe, partial(self._check, probe, images, given))
        except NoPathError as error:
            if cause := blamed(self.adapter, double, images, given, self._layers):
                raise cause from error
            raise
        explanation = Explanation(
            heatmap=found.heatmap.float(),
            raw=found.raw,
            score=found.score,
            target=self.adapter.explained(probe.target),
            outputs=found.outputs,
            activations=found.activations,
            gradients=found.gradients,
            method=self.explainer.name,
            layers=self.layers or (),
            figures={**self.adapter.figures(probe.target), **probe.figures},
            images=probe.images,
            family=self.explainer.family,
            labels=self.labels if self._names_classes() else None,
        )
        return explanation, probe

    def _check(
        self, probe: Probe, images: Tensor, given: Mapping[str, Tensor], raw: Tensor
    ) -> None:
        """Refuses a map that is not what the method promises; keeps what the first one settles of
        the adapter."""
        check_traits(self.explainer, probe, raw, probe.images)
        if mixes(probe):
            raise Mixed
        if not self._settled:
            check_alone(probe.adapter, probe.double, probe.outputs, images, given)
        self.adapter, self._settled = probe.adapter, True
        clean, finite = lambda: probe.run_with(probe.images.clone()), lambda: probe.extremes.finite
        check_finite(self.explainer.name, probe.y, raw, probe.double, clean, finite)

    def _names_classes(self) -> bool:
        """Whether what is explained is a class, which labels name."""
        if self.adapter.fields:
            return self.adapter.fields[0].kind == "class"
        return bool({"target", "class_ids", "answer"} & set(self.adapter.inputs))

    def _prepared(self, target: Any, images: Tensor) -> dict[str, Tensor]:
        asks = type(self.adapter).prepare_for is not Adapter.prepare_for
        memory = within_memory(images, self.chunk)
        # the model itself may not run in here, which says nothing of it
        with memory, random_state_kept(images.device):
            if asks:
                return restarted(
                    lambda: prepared(self.adapter, double_of(self.model), target, images.clone())
                )
            return prepared(self.adapter, self.model, target, images)

    def _probe(
        self,
        double: nn.Module,
        images: Tensor,
        given: Mapping[str, Tensor],
        *,
        validate: bool = False,
        progress: Tick | None = None,
        lists: bool = False,
    ) -> Probe:
        self._settle(images, given, lists)
        evaluation = Evaluation(
            *(double, self.adapter, self._layers or [], images, given),
            records=self.explainer.needs_gradients and self.explainer.needs_layer,
            validate=validate,
            lists=lists,
            readings=self._readings,
        )
        return Probe(evaluation, chunk=self.chunk, progress=progress, mixing=self._mixing)

    def _settle(self, images: Tensor, given: Mapping[str, Tensor], lists: bool) -> None:
        """Fixes once what passes on one image tell: how the outputs are read, and the layers that
        nobody named."""
        asks = type(self.adapter).settled is not Adapter.settled and not self.adapter.settles_of(
            images.shape[0]
        )
        unread = asks and not self._settled
        if self._layers is not None and not unread:
            return
        if self._layers is None:
            found = self._found(images, given, lists)
            if found.refused is not None:
                raise found.refused
            self.adapter, self._layers = found.adapter, found.layers
            warn_of_others(found.runs, found.layers)
        else:
            self.adapter = read(
                double_of(self.model, eager), self.adapter, images[:1], rows(given, 1)
            )
        self._settled = True

    def _found(self, images: Tensor, given: Mapping[str, Tensor], lists: bool) -> Settled:
        fresh = partial(double_of, self.model, eager)
        return settle(
            fresh, self.adapter, images[:1], rows(given, 1), lists, self._readings, len(images) == 1
        )

    def _mixes(self, image: Tensor, given: Mapping[str, Tensor]) -> bool:
        """Whether the model mixes the images of a batch, asked for one image that nothing else is
        run beside."""
        with within_memory(image, self.chunk), random_state_kept(image.device, self.model):
            return mixes(self._probe(self._double(), image, given), alone=True)
